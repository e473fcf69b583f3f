"""Rank the catalogue for queries, by exact or by approximate search."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.top import best_rows
from mmsc_cli.index.filters import Sieve
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.shop_rules import Effects
from mmsc_cli.index.soundness import check_scores
from mmsc_cli.runtime.machine.cores import usable_cores
from mmsc_cli.runtime.machine.memory import available_memory
from mmsc_cli.tables.relations import Relation

if TYPE_CHECKING:
    from mmsc_cli.index.hnsw import Hnsw

# Maximum size of the scores of a block of queries; larger blocks are hardly faster.
BLOCK_BYTES = 64 * 2**20
# Fraction of the free memory that the scores of all cores together may take.
_FRACTION_OF_MEMORY = 1 / 16
_MEMORY = threading.local()
_USUAL_ROWS = 256
# Sparse additions to a row of scores: item rows and values.
Additions = tuple[NDArray[np.int32], NDArray[np.float32]]


def block_size(n_items: int) -> int:
    """The number of queries that each core scores at a time against a catalogue of `n_items`."""
    room = min(BLOCK_BYTES, int(available_memory() * _FRACTION_OF_MEMORY) // usable_cores())
    return max(1, room // (4 * max(n_items, 1)))


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
        ruled: what rules of the shop did; None if none applies to the query.
    """

    relation: Relation
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    network: NDArray[np.float32]
    ruled: Ruled | None = None

    def take(self, positions: NDArray[np.int64]) -> Ranked:
        """The answers at these positions, in their order."""
        return replace(self, rows=self.rows[positions], scores=self.scores[positions], network=self.network[positions])

    def placed(self, k: int) -> Ranked:
        """The first `k` answers, pinned ones in their places; a place behind all other answers is the last one."""
        if self.ruled is None or not len(self.ruled.places):
            return self if len(self.rows) <= k else self.take(np.arange(k))
        pinned = self.ruled.pinned_up_to(k)
        order = list(range(len(self.rows)))
        for number, place in enumerate(self.ruled.places[: len(pinned.rows)].tolist()):
            order.insert(place - 1, len(self.rows) + number)
        return replace(
            self,
            rows=np.concatenate([self.rows, pinned.rows])[order[:k]],
            scores=np.concatenate([self.scores, pinned.scores])[order[:k]],
            network=np.concatenate([self.network, pinned.network])[order[:k]],
        )


@dataclass(frozen=True)
class Ruled:
    """What rules of the shop did to the answers of one query in one relation.

    Attributes:
        effects: what the rules say.
        blocked: scores of the best answers that they left out, the highest first.
        places: of pinned answers, from 1, ascending.
        pinned: pinned answers, in the order of `places`.
    """

    effects: Effects
    blocked: NDArray[np.float32]
    places: NDArray[np.int64]
    pinned: Ranked

    def pinned_up_to(self, k: int) -> Ranked:
        """The pinned answers whose place is at most `k`."""
        return self.pinned.take(np.flatnonzero(self.places <= k))


class IndexRanker:
    """Ranks the catalogue for blocks of queries; may be used by several threads at once."""

    def __init__(self, index: Index, sieves: Mapping[Relation, Sieve], k: int, approximate: Hnsw | None = None) -> None:
        """Rank the `k` best items that pass a relation's sieve.

        Search is exact, unless there is an approximate index and the sieve lets almost all items pass.
        """
        self._index = index
        self.sieves = sieves
        self.k = k
        self._approximate = approximate
        self._memory = threading.local()

    def rank(self, block: QueryBlock) -> list[list[Ranked]]:
        """Rank the answers: per query one ranking for each relation, in the block's order."""
        return [[ranked.placed(self.k) for ranked in rankings] for rankings in self.unplaced(block)]

    def unplaced(self, block: QueryBlock) -> list[list[Ranked]]:
        """Rank the answers, with pinned ones apart, in `Ranked.ruled`."""
        rankings: list[list[Ranked]] = [[] for _ in block.queries]
        for relation, vectors in block.vectors.items():
            additions = block.additions[relation]
            found = [
                self._among_added(relation, query, vector, *added)
                for query, vector, added in zip(block.queries, vectors, additions, strict=True)
            ]
            left = [position for position, ranked in enumerate(found) if ranked is None]
            if left:
                exact = self._approximate is None or not self.sieves[relation].is_open()
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
        ranked = self._among_added(relation, query, side.query[query.row], *side.linear.entries(query.row))
        return None if ranked is None else ranked.placed(self.k)

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
        sieve = self.sieves[relation]
        if len(columns) < self.k or sieve.takes_turns(relation):
            return None
        if self._index.about.get("ranked") and sieve.is_plain:
            first = self._first(relation, query, vector, columns, values)
            if first is not None:
                return first
        order = np.argsort(columns, kind="stable")
        rows = columns[order].astype(np.int64)
        network = _network(self._index.vectors(relation).key, vector, rows)
        scores = network + values[order]
        check_scores(scores)
        effects = sieve.effects(query, relation)
        most = self._index.most_without_addition(relation, vector)
        if effects is not None:
            scores += effects.boosts_of(rows)
            most += effects.most()
        sieve.leave_out_among(query, relation, rows, scores)
        ruled = None
        if effects is not None:
            places, pins = self._pins(relation, query, effects)
            pinned = self._ranked(relation, vector, (columns, values), pins, effects)
            scores[np.isin(rows, sieve.variants_of(pins))] = -np.inf
            ruled = Ruled(effects, _take_away(scores, np.flatnonzero(effects.blocks(rows)), self.k), places, pinned)
        best = sieve.best_among(rows, scores, self.k)
        if len(best) < self.k or not scores[best[-1]] > most:
            return None
        return Ranked(relation, rows[best], scores[best], network[best], ruled)

    def _first(
        self,
        relation: Relation,
        query: Query,
        vector: NDArray[np.float32],
        columns: NDArray[np.int32],
        values: NDArray[np.float32],
    ) -> Ranked | None:
        """The first of a row's items, which training ranked; None if their scores are not in that order, or too low."""
        width = self.k + 2  # one may be the query, and one shows where the order is not strict
        rows = columns[:width].astype(np.int64)
        network = _network(self._index.vectors(relation).key, vector, rows)
        scores = network + values[:width]
        check_scores(scores)
        if not (scores[1:] < scores[:-1]).all():
            return None
        kept = np.flatnonzero(rows != query.row)[: self.k]
        if len(kept) < self.k or not scores[kept[-1]] > self._index.most_without_addition(relation, vector):
            return None
        return Ranked(relation, rows[kept], scores[kept], network[kept])

    def _ranked(
        self,
        relation: Relation,
        vector: NDArray[np.float32],
        added: Additions,
        rows: NDArray[np.int64],
        effects: Effects,
    ) -> Ranked:
        """Some rows with their scores, in their order."""
        network = _network(self._index.vectors(relation).key, vector, rows)
        scores = network + effects.boosts_of(rows)
        columns, values = added
        for number, row in enumerate(rows.tolist()):
            scores[number] += values[columns == row].sum()
        return Ranked(relation, rows, scores, network)

    def _pins(self, relation: Relation, query: Query, effects: Effects) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places and rows of the pins that the filters let pass."""
        pins = np.array(effects.pins, np.int64).reshape(-1, 2)
        places, rows = pins[self.sieves[relation].admits(query, relation, pins[:, 1])].T
        return places, rows

    def pick(
        self,
        relation: Relation,
        query: Query,
        scores: NDArray[np.float32],
        network: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    ) -> Ranked:
        """Pick the answers from the scores of the whole catalogue (n_items,), which are changed.

        Args:
            relation: the relation.
            query: what is asked about.
            scores: what the model says of every item.
            network: the parts of some rows' scores that the vectors give.
        """
        sieve = self.sieves[relation]
        check_scores(scores)
        effects, ruled = sieve.effects(query, relation), None
        if effects is None:
            sieve.leave_out(query, relation, scores)
        else:
            scores[effects.boosted] += effects.amounts
            places, pins = self._pins(relation, query, effects)
            pinned = Ranked(relation, pins, scores[pins], network(pins))
            sieve.leave_out(query, relation, scores)
            scores[sieve.variants_of(pins)] = -np.inf
            ruled = Ruled(effects, _take_away(scores, effects.blocked, self.k), places, pinned)
        best = sieve.best(query, relation, scores, self.k)
        return Ranked(relation, best, scores[best], network(best), ruled)

    def _exact(
        self,
        relation: Relation,
        queries: Sequence[Query],
        vectors: NDArray[np.float32],
        additions: Sequence[Additions],
    ) -> list[Ranked]:
        key = self._index.vectors(relation).key
        scores = np.matmul(vectors, key.T, out=self._buffer(len(queries)))
        rankings = []
        for query, vector, row, (columns, values) in zip(queries, vectors, scores, additions, strict=True):
            row[columns] += values
            rankings.append(self.pick(relation, query, row, partial(_network, key, vector)))
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
        key, sieve = self._index.vectors(relation).key, self.sieves[relation]
        rankings = []
        for query, vector, (columns, values) in zip(queries, vectors, additions, strict=True):
            without = sieve.left_out_of(query)
            # Items that are left out, or pushed down by a negative addition, must not take the place of others.
            width = self.k + len(without) + int(np.count_nonzero(values < 0))
            rows = np.union1d(self._approximate.nearest(relation, vector, width), columns)
            rows = rows[~np.isin(rows, without)].astype(np.int64)
            network = _network(key, vector, rows)
            scores = network.copy()
            added = np.isin(columns, rows)
            scores[np.searchsorted(rows, columns[added])] += values[added]
            check_scores(scores)
            sieve.too_low(scores)
            best = best_rows(scores, self.k)
            rankings.append(Ranked(relation, rows[best], scores[best], network[best]))
        return rankings

    def _buffer(self, queries: int) -> NDArray[np.float32]:
        """Memory for scores, which this thread reuses: fresh pages cost nearly as much as the product."""
        buffer: NDArray[np.float32] | None = getattr(self._memory, "scores", None)
        if buffer is None or len(buffer) < queries:
            buffer = self._memory.scores = np.empty((queries, len(self._index)), np.float32)
        return buffer[:queries]


def _network(key: NDArray[np.float32], vector: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The products of a query's vector (dim,) with the keys of some rows, (n_rows,).

    The keys are gathered in memory that this thread reuses: fresh pages would cost more than all the rest.
    """
    room: NDArray[np.float32] | None = getattr(_MEMORY, "keys", None)
    if room is None or len(room) < len(rows) or room.shape[1:] != key.shape[1:] or room.dtype != key.dtype:
        room = _MEMORY.keys = np.empty((max(len(rows), _USUAL_ROWS), *key.shape[1:]), key.dtype)
    # "clip": numpy would fill memory of its own first, to leave ours as it was if a row were wrong.
    products: NDArray[np.float32] = np.take(key, rows, axis=0, out=room[: len(rows)], mode="clip") @ vector
    return products


def _take_away(scores: NDArray[np.float32], positions: NDArray[np.int64], most: int) -> NDArray[np.float32]:
    """Set some scores to -inf, and return the highest of them, at most so many, best first."""
    taken = scores[positions]
    scores[positions] = -np.inf
    return taken[best_rows(taken, most)] if len(taken) else taken
