"""NDCG@10 on the validation split, by which training stops and mixing weights are chosen. No test pair is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.metrics.retrieval import NDCG, catalogue_figures
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation

Kind = Literal["warm", "cold"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CHUNK_CELLS = 16_000_000
QUERIES = 2_000


class Validation:
    """Queries of one relation and one kind: warm items, or items without behaviour (`cold_valid`)."""

    def __init__(
        self,
        pairs: Pairs,
        item_splits: NDArray[np.str_],
        relation: Relation,
        kind: Kind,
        rng: np.random.Generator,
    ) -> None:
        """Draw at most QUERIES queries; training pairs are masked, of either relation."""
        self.relation = relation
        items = len(item_splits)
        train, valid = pairs.of("train"), pairs.of("valid")
        self._masked = symmetric_matrix(train.a, train.b, None, items) + sparse.eye_array(
            items, dtype=np.bool_, format="csr"
        )
        warm = item_splits == "warm"
        asked = warm if kind == "warm" else item_splits == "cold_valid"
        wanted = valid.adjacency(relation, items).tocoo()
        keep = asked[wanted.row] & warm[wanted.col]
        entries = np.ones(int(keep.sum()), np.bool_)
        coordinates = (wanted.row[keep], wanted.col[keep])
        self._positives = sparse.coo_array((entries, coordinates), shape=(items, items)).tocsr()
        queries = np.flatnonzero(np.diff(self._positives.indptr))
        self.queries = np.sort(rng.choice(queries, min(QUERIES, len(queries)), replace=False)).astype(np.int64)

    def chunks(self) -> list[NDArray[np.int64]]:
        """The queries in chunks whose scores fit in memory."""
        size = max(1, CHUNK_CELLS // self._masked.shape[0])
        return [self.queries[start : start + size] for start in range(0, len(self.queries), size)]

    def figures(self, queries: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """NDCG@10 of each query; `scores` (queries, items) is overwritten."""
        return catalogue_figures(scores, self._positives[queries], self._masked[queries])[:, NDCG]

    @property
    def n_right(self) -> NDArray[np.int64]:
        """How many items are right for each query, (queries,)."""
        counts: NDArray[np.int64] = np.diff(self._positives.indptr)[self.queries]
        return counts

    def marks(self, queries: NDArray[np.int64], items: NDArray[np.int64]) -> tuple[NDArray[np.bool_], ...]:
        """Whether items are right for queries, and whether they are masked, (pairs,) each."""
        n_items = self._masked.shape[0]
        asked = queries * n_items + items
        entries = (matrix[self.queries].tocoo() for matrix in (self._positives, self._masked))
        right, masked = (
            np.isin(asked, self.queries[found.row] * n_items + found.col.astype(np.int64)) for found in entries
        )
        return right, masked

    def ndcg(self, scorer: Scorer) -> float | None:
        """Mean NDCG@10; None where there is no query."""
        if not len(self.queries):
            return None
        return float(np.concatenate([self.figures(q, scorer.scores(self.relation, q)) for q in self.chunks()]).mean())


Validations = Mapping[tuple[Relation, Kind], Validation]


def validations_of(pairs: Pairs, item_splits: NDArray[np.str_], seed: int) -> Validations:
    """The queries of both relations and kinds, drawn by the seed."""
    return {
        (relation, kind): Validation(
            pairs, item_splits, relation, kind, numpy_generator(seed, f"valid/{relation}/{kind}")
        )
        for relation in RELATIONS
        for kind in KINDS
    }


def figures(scorer: Scorer, validations: Validations) -> dict[str, float]:
    """NDCG@10 of each relation and kind that has queries, and as `ndcg@10` their mean (0 where there are none)."""
    values = {f"{relation}_{kind}": found.ndcg(scorer) for (relation, kind), found in validations.items()}
    known = {name: value for name, value in values.items() if value is not None}
    return {**known, "ndcg@10": float(np.mean(list(known.values()))) if known else 0.0}
