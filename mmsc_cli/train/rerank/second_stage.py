"""The second stage as a whole: candidates for every item, rankers fitted on validation pairs, and the ranked rows.

The rankers learn from validation pairs, as everything they see of a pair comes from training pairs: to them a
validation pair looks as a test pair will. A share of the validation pairs is kept from them, to say how good they
are and to make probabilities of their scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.blend import FirstStage
from mmsc_cli.train.rerank.features import CHUNK_CELLS, CandidateEvidence, entries
from mmsc_cli.train.rerank.ranker import Examples, Ranker, fit_ranker

# Validation pairs that are kept from the rankers: a share, but of a small shop half, so that probabilities can be made.
KEPT_BACK = 0.15
FEWEST_KEPT_BACK = 200
FEWEST_QUERIES = 50
FEWEST_COLD_QUERIES = 20
# Items without behaviour are few among the examples and the hardest to learn: alone they overfit, once each they drown.
COLD_REPEATS = 2
QUERIES = 8_000
# A pair seen in this relation alone tells more of it than one that was seen in both.
EXCLUSIVE = 1.5
LARGEST_CHUNK = 256


@dataclass(frozen=True)
class Ranked:
    """Items whose candidates were ranked: rows (n,), `candidates` (n, candidates) item rows, `scores` alike."""

    rows: NDArray[np.int64]
    candidates: NDArray[np.int64]
    scores: NDArray[np.float32]


class Fitted(NamedTuple):
    """A ranker, and whether it has learned from items without behaviour too."""

    ranker: Ranker
    learned_cold: bool


class SecondStage:
    """Fits and applies a ranker per relation.

    `kept_back` (pairs,) bool: the validation pairs that no ranker learns from.
    """

    def __init__(
        self,
        first: FirstStage,
        evidence: CandidateEvidence,
        pairs: Pairs,
        item_splits: NDArray[np.str_],
        candidates: int,
        epochs: int,
        seed: int,
    ) -> None:
        """Take what is known; nothing is fitted yet.

        Args:
            first: whose greatest scores are the candidates.
            evidence: what the rankers see.
            pairs: training pairs, which are no examples, and validation pairs, which are.
            item_splits: (items,).
            candidates: how many an item has.
            epochs: of each ranker's fit.
            seed: of every random choice.
        """
        count = len(item_splits)
        training = pairs.of("train")
        self._first = first
        self._evidence = evidence
        self._epochs = epochs
        self._seed = seed
        self._known = symmetric_matrix(training.a, training.b, None, count)
        self._has_behaviour = np.diff(self._known.indptr) > 0
        self._answers = self._has_behaviour & (item_splits == "warm")
        self._candidates = min(candidates, int(self._answers.sum()) - 1)
        valid = np.flatnonzero(pairs.split == "valid")
        self.kept_back = np.zeros(len(pairs), np.bool_)
        share = min(0.5, max(KEPT_BACK, FEWEST_KEPT_BACK / max(len(valid), 1)))
        self.kept_back[valid] = numpy_generator(seed, "rerank/kept back").random(len(valid)) < share
        back = pairs.select(self.kept_back)
        self._back = symmetric_matrix(back.a, back.b, None, count)
        examples = pairs.select((pairs.split == "valid") & ~self.kept_back)
        worth = np.where(examples.ambiguous(), 1, EXCLUSIVE).astype(np.float32)
        self._right = {}
        for relation in RELATIONS:
            holds = examples.holds(relation)
            self._right[relation] = symmetric_matrix(examples.a[holds], examples.b[holds], worth[holds], count)
        self._asked = np.isin(item_splits, ("warm", "cold_valid"))

    def fit(self, progress: Progress = SILENT) -> dict[Relation, Fitted]:
        """A ranker per relation, where there are examples enough."""
        fitted = {}
        for relation in RELATIONS if self._candidates > 1 else ():
            known, cold = (self._examples(relation, behaviour).answerable() for behaviour in (True, False))
            if len(known) < FEWEST_QUERIES:
                continue
            learns_cold = len(cold) >= FEWEST_COLD_QUERIES
            examples = known.joined(cold, COLD_REPEATS) if learns_cold else known
            fitted[relation] = Fitted(fit_ranker(examples, self._epochs, self._seed, relation, progress), learns_cold)
        return fitted

    def rank(self, fitted: Mapping[Relation, Fitted], progress: Progress = SILENT) -> dict[Relation, Ranked]:
        """The candidates of every item of a kind that the ranker has learned from, and their scores."""
        ranked = {}
        for relation, (ranker, learned_cold) in fitted.items():
            items = np.flatnonzero(self._has_behaviour | learned_cold).astype(np.int64)
            found = []
            with progress.task(f"Ranking {relation}s", len(items)) as task:
                for rows in self._chunks(items):
                    candidates = self._candidates_of(relation, rows)
                    found.append((rows, candidates, ranker.scores(self._evidence.of(rows, candidates))))
                    task.advance(len(rows))
            ranked[relation] = Ranked(*(np.concatenate(part) for part in zip(*found, strict=True)))
        return ranked

    def _examples(self, relation: Relation, behaviour: bool) -> Examples:
        """Of items with or without behaviour, in the order of the catalogue."""
        wanted = np.diff(self._right[relation].indptr) > 0
        queries = np.flatnonzero(wanted & self._asked & (self._has_behaviour == behaviour))
        draw = numpy_generator(self._seed, f"rerank/{relation}/{behaviour}")
        queries = np.sort(draw.choice(queries, min(QUERIES, len(queries)), replace=False)).astype(np.int64)
        evidence, right, left_out = [], [], []
        for rows in self._chunks(queries):
            candidates = self._candidates_of(relation, rows)
            evidence.append(self._evidence.of(rows, candidates))
            right.append(entries(self._right[relation][rows], candidates))
            left_out.append(entries(self._known[rows], candidates) | entries(self._back[rows], candidates))
        if not evidence:
            return Examples(torch.empty(0, 0, 0), torch.empty(0, 0), torch.empty(0, 0, dtype=torch.bool))
        return Examples(*(torch.from_numpy(np.concatenate(part)) for part in (evidence, right, left_out)))

    def _candidates_of(self, relation: Relation, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        scores = self._first.scores(relation, rows)
        scores[:, ~self._answers] = -np.inf
        scores[np.arange(len(rows)), rows] = -np.inf
        found = np.argpartition(scores, -self._candidates, axis=1)[:, -self._candidates :]
        return np.sort(found, axis=1).astype(np.int64)

    def _chunks(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        size = max(1, min(LARGEST_CHUNK, CHUNK_CELLS // len(self._has_behaviour)))
        return [rows[start : start + size] for start in range(0, len(rows), size)]


def compose(
    query: NDArray[np.float32], key: NDArray[np.float32], mixed: sparse.csr_array[Any], ranked: Ranked
) -> tuple[NDArray[np.float32], NDArray[np.float32], sparse.csr_array[Any]]:
    """Query vectors, key vectors and sparse rows whose scores put an item's ranked candidates before all others.

    score(i, j) = query[i] . key[j] + rows[i, j] stays what the index computes: the rows hold what is missing from the
    product to the ranker's score. What is no candidate follows in the order of the network, between 0 and 2 below the
    last candidate. That takes one further column in the vectors. Items that were not ranked keep their scores.

    Args:
        query: (items, dim) of the network.
        key: (items, dim) of the network.
        mixed: (items, items) the first stage's sparse rows, for items that were not ranked.
        ranked: the second stage's answers.
    """
    reach = np.linalg.norm(query[ranked.rows], axis=1) * np.linalg.norm(key, axis=1).max(initial=0)
    query = np.column_stack([query, np.zeros(len(query), np.float32)])
    key = np.column_stack([key, np.ones(len(key), np.float32)])
    query[ranked.rows] /= np.where(reach > 0, reach, 1)[:, None]
    query[ranked.rows, -1] = ranked.scores.min(axis=1) - 1
    parts = [slice(start, start + LARGEST_CHUNK) for start in range(0, len(ranked.rows), LARGEST_CHUNK)]
    products = [np.matmul(key[ranked.candidates[part]], query[ranked.rows[part], :, None])[:, :, 0] for part in parts]
    missing = (ranked.scores - np.concatenate(products)).astype(np.float32)
    width = ranked.candidates.shape[1]
    pointers = np.zeros(len(query) + 1, np.int64)
    pointers[1 + ranked.rows] = width
    place = np.argsort(ranked.rows, kind="stable")
    entries = (missing[place].ravel(), ranked.candidates[place].ravel(), np.cumsum(pointers))
    kept = np.ones(len(query), np.float32)
    kept[ranked.rows] = 0
    others = sparse.csr_array(sparse.diags_array(kept) @ mixed)
    others.eliminate_zeros()
    return query, key, sparse.csr_array(others + sparse.csr_array(entries, shape=mixed.shape))
