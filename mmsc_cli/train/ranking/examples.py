"""What the ranker learns from: queries of hidden pairs, with evidence that comes from visible pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.runtime.parallel import map_blocks
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.known import Visible
from mmsc_cli.train.linear_branch import Sparse
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.ranking.ranker import Examples

# Of a query's candidates: all right ones, then those that the linear branch likes most, then a draw of the others.
HARDEST = 56
DRAWN = 24
# A pair seen in this relation alone tells more of it than one that was seen in both.
DISTINCT = 1.5
LEFT_OUT = -1e4
LARGEST = 24_000


@dataclass(frozen=True)
class Fold:
    """The training pairs with some of them hidden: what is visible, and the hidden pairs to be found."""

    visible: Visible
    hidden: Pairs


def make_folds(
    whole: Visible, first: NDArray[np.int64], shares: tuple[float, float], rngs: Iterable[np.random.Generator]
) -> list[Fold]:
    """Hide pairs and let items play cold, as the split did with validation pairs and items.

    Variants of a product share what is known of it, so they play cold together, and so are their pairs hidden: the
    ranker would trust the copy of a hidden pair, and there is none where it counts.

    Args:
        whole: what may be looked at.
        first: (n_items,) the first variant of each item's product.
        shares: the fraction of pairs to hide, and of items to play cold.
        rngs: one for each fold.
    """
    hide, play_cold = shares
    folds = []
    for rng in rngs:
        cold = whole.cold | ((rng.random(len(whole.cold))[first] < play_cold) & whole.has_behaviour)
        pairs = whole.pairs
        seen = (rng.random(len(pairs))[first_copies(pairs, first)] >= hide) & ~(cold[pairs.a] | cold[pairs.b])
        folds.append(Fold(Visible.of(pairs.select(seen), whole.outside, cold), pairs.select(~seen)))
    return folds


def first_copies(pairs: Pairs, first: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first pair of the same two products as each pair, (pairs,); `first` (n_items,) as in `make_folds`."""
    a, b = first[pairs.a], first[pairs.b]
    _, where, inverse = np.unique(
        np.minimum(a, b) * len(first) + np.maximum(a, b), return_index=True, return_inverse=True
    )
    copies: NDArray[np.int64] = where[inverse]
    return copies


def split_shares(pairs: Pairs, item_splits: NDArray[np.str_]) -> tuple[float, float]:
    """The fractions of pairs and of items that validation took from the training pairs; usual ones if it took none."""
    warm = item_splits == "warm"
    between = warm[pairs.a] & warm[pairs.b]
    valid, train = (int((between & (pairs.split == name)).sum()) for name in ("valid", "train"))
    cold = int((item_splits == "cold_valid").sum())
    pair_share = valid / max(valid + train, 1) or 0.1
    item_share = cold / max(cold + int(warm.sum()), 1) or 0.05
    return float(np.clip(pair_share, 0.05, 0.2)), float(np.clip(item_share, 0.02, 0.2))


def collect_examples(
    evidence: Evidence, hidden: Pairs, unasked: Pairs, count: int, rng: np.random.Generator, progress: Progress = SILENT
) -> dict[Relation, Examples]:
    """Collect the examples of both relations from one look at the catalogue.

    Args:
        evidence: of that look.
        hidden: the pairs to be found; none of them is visible.
        unasked: further hidden pairs, which are neither right nor wrong here.
        count: candidates of a query.
        rng: draws the sample.
        progress: counts queries.
    """
    known = evidence.known
    n_items = len(known.catalogue)
    seen = known.visible.pairs
    worth = {relation: _worth(hidden, relation, n_items) for relation in RELATIONS}
    no_part = symmetric_matrix(
        np.concatenate([seen.a, unasked.a]), np.concatenate([seen.b, unasked.b]), None, n_items
    ).astype(np.float32)
    queries = np.flatnonzero(sum(np.diff(matrix.indptr) for matrix in worth.values())).astype(np.int64)
    if len(queries) > LARGEST:
        queries = np.sort(rng.choice(queries, LARGEST, replace=False))
    blocks = [queries[start : start + evidence.chunk] for start in range(0, len(queries), evidence.chunk)]
    seeds = rng.integers(0, 2**63, len(blocks))

    def collect(number: int) -> list[tuple[NDArray[Any], ...]]:
        rows, draw = blocks[number], np.random.default_rng(seeds[number])
        candidates = known.candidates(rows, count)
        features = evidence.of(rows, candidates)
        right = [evidence.entries(worth[relation][rows], candidates) for relation in RELATIONS]
        left_out = (candidates < 0) | (evidence.entries(no_part[rows], candidates) > 0)
        return [
            _sample(features, right[i], right[1 - i] > 0, left_out, evidence.linear_column(relation), draw)
            for i, relation in enumerate(RELATIONS)
        ]

    room: dict[Relation, _Room] = {}
    with progress.task("Examples", len(queries)) as task:
        for block, rows in zip(map_blocks(collect, range(len(blocks))), blocks, strict=True):
            for relation, parts in zip(RELATIONS, block, strict=True):
                room.setdefault(relation, _Room(len(queries), parts)).add(parts)
            task.advance(len(rows))
    return {relation: filled.examples() for relation, filled in room.items()}


class _Room:
    """Arrays for the examples of all queries, so that no two copies of them are in memory."""

    def __init__(self, queries: int, like: tuple[NDArray[Any], ...]) -> None:
        """Make room for so many queries, of parts of `Examples` like those of a block."""
        evidence, right, correction = like
        # What is not filled takes no memory.
        self._evidence = np.empty((queries, *evidence.shape[1:]), evidence.dtype)
        self._right, self._correction = (
            np.empty((len(part), queries, part.shape[2]), part.dtype) for part in (right, correction)
        )
        self._filled = 0

    def add(self, parts: tuple[NDArray[Any], ...]) -> None:
        """Add the parts of a block."""
        evidence, right, correction = parts
        rows = slice(self._filled, self._filled + len(evidence))
        self._evidence[rows], self._right[:, rows], self._correction[:, rows] = evidence, right, correction
        self._filled = rows.stop

    def examples(self) -> Examples:
        """All that were added."""
        rows = slice(self._filled)
        parts = self._evidence[rows], self._right[:, rows], self._correction[:, rows]
        return Examples(*map(torch.from_numpy, parts))


def _worth(pairs: Pairs, relation: Relation, n_items: int) -> Sparse:
    """How much each pair of a relation counts as an answer, (n_items, n_items)."""
    holds = pairs.holds(relation)
    worth = np.where(pairs.ambiguous(), 1, DISTINCT).astype(np.float32)
    return symmetric_matrix(pairs.a[holds], pairs.b[holds], worth[holds], n_items)


def _sample(
    features: NDArray[np.float32],
    right: NDArray[np.float32],
    in_other: NDArray[np.bool_],
    left_out: NDArray[np.bool_],
    column: int,
    draw: np.random.Generator,
) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32]]:
    """The parts of `Examples` from all candidates of some queries, of those queries that have a right candidate."""
    right = np.where(left_out, 0, right)
    asked = right.any(axis=1)
    features, right, in_other, left_out = features[asked], right[asked], in_other[asked], left_out[asked]
    candidates = right.shape[1]
    hardest, drawn = min(HARDEST, candidates), min(DRAWN, max(0, candidates - HARDEST))
    liking = np.where(right > 0, np.inf, np.where(left_out, -np.inf, features[:, :, column]))
    order = np.argsort(-liking, axis=1, kind="stable")
    rest = order[:, hardest:]
    lot = draw.random(rest.shape).argsort(axis=1)[:, :drawn]
    chosen = np.concatenate([order[:, :hardest], np.take_along_axis(rest, lot, axis=1)], axis=1)
    right = np.take_along_axis(right, chosen, axis=1)
    in_other, left_out = (np.take_along_axis(side, chosen, axis=1) for side in (in_other, left_out))
    # A drawn candidate stands for all that were not; a right one for itself.
    correction = np.zeros(chosen.shape, np.float32)
    correction[:, hardest:] = np.log(max(1, candidates - hardest) / max(1, drawn))
    correction[right > 0] = 0
    correction[left_out] = LEFT_OUT
    distinct = np.where(in_other, 0, right)
    without_ambiguous = np.where((right > 0) & in_other, LEFT_OUT, correction)
    return (
        np.take_along_axis(features, chosen[:, :, None], axis=1).astype(np.float16),
        np.stack([right, distinct]).astype(np.float32),
        np.stack([correction, without_ambiguous]).astype(np.float32),
    )
