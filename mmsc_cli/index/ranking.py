"""From vectors of queries to ranked rows of the catalogue, by exact or by approximate search."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.top import best_rows
from mmsc_cli.index.filters import Sieve
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.tables.relations import Relation

if TYPE_CHECKING:
    from mmsc_cli.index.hnsw import Hnsw

# Sparse additions to a row of scores: which items, and how much.
Additions = tuple[NDArray[np.int32], NDArray[np.float32]]


@dataclass(frozen=True)
class Block:
    """Some queries, and what scores them: score(i, j) = vectors[relation][i] . key[j] + additions[relation][i][j]."""

    queries: Sequence[Query]
    vectors: dict[Relation, NDArray[np.float32]]
    additions: dict[Relation, list[Additions]]

    @classmethod
    def of_items(cls, index: Index, queries: Sequence[Query], relations: Sequence[Relation]) -> Block:
        """Items of the catalogue, by their rows."""
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
        relation: which.
        rows: items, shape (answers,).
        scores: shape (answers,).
        network: the part of the scores that the vectors give, shape (answers,).
    """

    relation: Relation
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    network: NDArray[np.float32]


class Ranker:
    """Ranks the catalogue for blocks of queries; may be used by several threads at once."""

    def __init__(self, index: Index, sieve: Sieve, k: int, approximate: Hnsw | None = None) -> None:
        """Rank the `k` best items that pass `sieve`; exactly, unless there is an approximate index for all items."""
        self._index = index
        self._sieve = sieve
        self._k = k
        self._approximate = approximate if sieve.filters.unrestricted() else None
        self._memory = threading.local()

    def rank(self, block: Block) -> list[list[Ranked]]:
        """Per query, and relation in the block's order, the ranked answers."""
        found: list[list[Ranked]] = [[] for _ in block.queries]
        search = self._exact if self._approximate is None else self._approximately
        for relation, vectors in block.vectors.items():
            for place, ranked in enumerate(search(relation, block.queries, vectors, block.additions[relation])):
                found[place].append(ranked)
        return found

    def _exact(
        self,
        relation: Relation,
        queries: Sequence[Query],
        vectors: NDArray[np.float32],
        additions: Sequence[Additions],
    ) -> list[Ranked]:
        key = self._index.vectors(relation).key
        scores = np.matmul(vectors, key.T, out=self._buffer(len(queries)))
        found = []
        for place, query in enumerate(queries):
            items, values = additions[place]
            row = scores[place]
            row[items] += values
            self._sieve.leave_out(query, relation, row)
            best = self._sieve.best(query, relation, row, self._k)
            found.append(Ranked(relation, best, row[best], key[best] @ vectors[place]))
        return found

    def _approximately(
        self,
        relation: Relation,
        queries: Sequence[Query],
        vectors: NDArray[np.float32],
        additions: Sequence[Additions],
    ) -> list[Ranked]:
        """The items nearest by vectors, and all with additions, scored exactly."""
        assert self._approximate is not None
        key = self._index.vectors(relation).key
        found = []
        for place, query in enumerate(queries):
            items, values = additions[place]
            without = self._sieve.left_out_of(query)
            # What is left out, and what an addition of less than nothing pushes down, may stand in the way of others.
            width = self._k + len(without) + int(np.count_nonzero(values < 0))
            near = self._approximate.nearest(relation, vectors[place], width)
            rows = np.union1d(near, items)
            rows = rows[~np.isin(rows, without)].astype(np.int64)
            network = key[rows] @ vectors[place]
            scores = network.copy()
            scores[np.searchsorted(rows, items[np.isin(items, rows)])] += values[np.isin(items, rows)]
            self._sieve.too_low(scores)
            best = best_rows(scores, self._k)
            found.append(Ranked(relation, rows[best], scores[best], network[best]))
        return found

    def _buffer(self, queries: int) -> NDArray[np.float32]:
        """Scores of a block, in memory that this thread uses again: fresh pages cost nearly as much as the product."""
        buffer: NDArray[np.float32] | None = getattr(self._memory, "scores", None)
        if buffer is None or len(buffer) < queries:
            buffer = self._memory.scores = np.empty((queries, len(self._index)), np.float32)
        return buffer[:queries]
