"""Rank the catalogue for queries, by exact or by approximate search."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.top import best_rows
from mmsc_cli.index.filters import Sieve
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.soundness import check_scores
from mmsc_cli.tables.relations import Relation

if TYPE_CHECKING:
    from mmsc_cli.index.hnsw import Hnsw

# Sparse additions to a row of scores: item rows and values.
Additions = tuple[NDArray[np.int32], NDArray[np.float32]]


@dataclass(frozen=True)
class QueryBlock:
    """Queries that are ranked together: score(i, j) = vectors[relation][i] . key[j] + additions[relation][i][j]."""

    queries: Sequence[Query]
    vectors: dict[Relation, NDArray[np.float32]]
    additions: dict[Relation, list[Additions]]

    @classmethod
    def of_items(cls, index: Index, queries: Sequence[Query], relations: Sequence[Relation]) -> QueryBlock:
        """A block of items of the catalogue."""
        rows = np.array([query.row for query in queries], np.int64)
        vectors, additions = {}, {}
        for relation in relations:
            side = index.vectors(relation)
            vectors[relation] = side.query[rows]
            additions[relation] = [side.linear.entries(row) for row in rows.tolist()]
        return cls(queries, vectors, additions)


@dataclass(frozen=True)
class Ranked:
    """The answers to one query in one relation, best first.

    Attributes:
        relation: the relation.
        rows: item rows, shape (n_answers,).
        scores: shape (n_answers,).
        network: the part of the scores that the vectors give, shape (n_answers,).
    """

    relation: Relation
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    network: NDArray[np.float32]

    def take(self, positions: NDArray[np.int64]) -> Ranked:
        """The answers at these positions, in their order."""
        return Ranked(self.relation, self.rows[positions], self.scores[positions], self.network[positions])


class IndexRanker:
    """Ranks the catalogue for blocks of queries; may be used by several threads at once."""

    def __init__(self, index: Index, sieves: Mapping[Relation, Sieve], k: int, approximate: Hnsw | None = None) -> None:
        """Rank the `k` best items that pass a relation's sieve.

        Search is exact, unless there is an approximate index and the sieve lets almost all items pass.
        """
        self._index = index
        self._sieves = sieves
        self._k = k
        self._approximate = approximate
        self._memory = threading.local()

    def rank(self, block: QueryBlock) -> list[list[Ranked]]:
        """Rank the answers: per query one ranking for each relation, in the block's order."""
        rankings: list[list[Ranked]] = [[] for _ in block.queries]
        for relation, vectors in block.vectors.items():
            additions = block.additions[relation]
            found = [
                self._among_added(relation, query, vector, *added)
                for query, vector, added in zip(block.queries, vectors, additions, strict=True)
            ]
            left = [position for position, ranked in enumerate(found) if ranked is None]
            if left:
                exact = self._approximate is None or not self._sieves[relation].is_open()
                search = self._exact if exact else self._approximately
                queries = [block.queries[position] for position in left]
                searched = search(relation, queries, vectors[left], [additions[position] for position in left])
                for position, answers in zip(left, searched, strict=True):
                    found[position] = answers
            for ranking, ranked in zip(rankings, found, strict=True):
                assert ranked is not None
                ranking.append(ranked)
        return rankings

    def rank_at_once(self, query: Query, relation: Relation) -> Ranked | None:
        """Rank the answers to an item of the catalogue if that takes no search of the catalogue; None if it does."""
        assert query.row is not None
        side = self._index.vectors(relation)
        return self._among_added(relation, query, side.query[query.row], *side.linear.entries(query.row))

    def _among_added(
        self,
        relation: Relation,
        query: Query,
        vector: NDArray[np.float32],
        columns: NDArray[np.int32],
        values: NDArray[np.float32],
    ) -> Ranked | None:
        """Rank the items with additions, if no other item can score as high as the last answer; None otherwise.

        A ranked candidate of a trained index is above all items that are no candidates, so this is the rule.
        """
        sieve = self._sieves[relation]
        if len(columns) < self._k or sieve.takes_turns(relation):
            return None
        order = np.argsort(columns, kind="stable")
        rows = columns[order].astype(np.int64)
        network = self._index.vectors(relation).key[rows] @ vector
        scores = network + values[order]
        check_scores(scores)
        sieve.leave_out_among(query, relation, rows, scores)
        best = sieve.best_among(rows, scores, self._k)
        if len(best) < self._k or not scores[best[-1]] > self._index.most_without_addition(relation, vector):
            return None
        return Ranked(relation, rows[best], scores[best], network[best])

    def _exact(
        self,
        relation: Relation,
        queries: Sequence[Query],
        vectors: NDArray[np.float32],
        additions: Sequence[Additions],
    ) -> list[Ranked]:
        key, sieve = self._index.vectors(relation).key, self._sieves[relation]
        scores = np.matmul(vectors, key.T, out=self._buffer(len(queries)))
        rankings = []
        for query, vector, row, (columns, values) in zip(queries, vectors, scores, additions, strict=True):
            row[columns] += values
            check_scores(row)
            sieve.leave_out(query, relation, row)
            best = sieve.best(query, relation, row, self._k)
            rankings.append(Ranked(relation, best, row[best], key[best] @ vector))
        return rankings

    def _approximately(
        self,
        relation: Relation,
        queries: Sequence[Query],
        vectors: NDArray[np.float32],
        additions: Sequence[Additions],
    ) -> list[Ranked]:
        """Rank the items nearest by vectors, and all with additions, by their exact scores."""
        assert self._approximate is not None
        key, sieve = self._index.vectors(relation).key, self._sieves[relation]
        rankings = []
        for query, vector, (columns, values) in zip(queries, vectors, additions, strict=True):
            without = sieve.left_out_of(query)
            # Items that are left out, or pushed down by a negative addition, must not take the place of others.
            width = self._k + len(without) + int(np.count_nonzero(values < 0))
            rows = np.union1d(self._approximate.nearest(relation, vector, width), columns)
            rows = rows[~np.isin(rows, without)].astype(np.int64)
            network = key[rows] @ vector
            scores = network.copy()
            added = np.isin(columns, rows)
            scores[np.searchsorted(rows, columns[added])] += values[added]
            check_scores(scores)
            sieve.too_low(scores)
            best = best_rows(scores, self._k)
            rankings.append(Ranked(relation, rows[best], scores[best], network[best]))
        return rankings

    def _buffer(self, queries: int) -> NDArray[np.float32]:
        """Memory for scores, which this thread reuses: fresh pages cost nearly as much as the product."""
        buffer: NDArray[np.float32] | None = getattr(self._memory, "scores", None)
        if buffer is None or len(buffer) < queries:
            buffer = self._memory.scores = np.empty((queries, len(self._index)), np.float32)
        return buffer[:queries]
