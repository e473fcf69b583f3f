"""Answers in both relations, shared out so that no item answers a query twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.index.filters import Sieve
from mmsc_cli.index.hnsw import Hnsw
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import IndexRanker, QueryBlock, Ranked
from mmsc_cli.infer.probabilities import class_probabilities, pair_probabilities
from mmsc_cli.tables.relations import Relation


class SeparateRanker:
    """Ranks substitutes and complements of queries, with no item in both lists of a query.

    An item that both lists would show goes to the relation in which its calibrated probability is higher; without
    calibration, to the one in which it ranks higher. The other list then shows one more item. An item that the shop
    pinned stays where it is pinned, if in both relations, among the substitutes.
    """

    def __init__(self, index: Index, sieves: Mapping[Relation, Sieve], k: int, approximate: Hnsw | None = None) -> None:
        """Rank the `k` best items of each relation; see IndexRanker."""
        self._index = index
        self.sieves = sieves
        self.k = k
        # An item that leaves a list is shown in the other one, so that at most k items leave.
        self._ranker = IndexRanker(index, sieves, 2 * k, approximate)

    def rank(self, block: QueryBlock) -> list[list[Ranked]]:
        """Rank the answers: per query substitutes, then complements."""
        rankings = self._ranker.unplaced(block)
        return [self._separate(query, *both) for query, both in zip(block.queries, rankings, strict=True)]

    def _separate(self, query: Query, substitutes: Ranked, complements: Ranked) -> list[Ranked]:
        pinned = _pinned(substitutes, self.k)
        complements = _without_pins(complements, pinned)
        # Positions in the two rankings of the items that are left, in the order in which they are shown.
        first = np.flatnonzero(~np.isin(substitutes.rows, _pinned(complements, self.k)))
        second = np.flatnonzero(~np.isin(complements.rows, pinned))
        while True:
            shown = [substitutes.take(first).placed(self.k), complements.take(second).placed(self.k)]
            twice = np.intersect1d(shown[0].rows, shown[1].rows, assume_unique=True)
            if not len(twice):
                return shown
            is_substitute = self._is_substitute(query, shown, twice)
            first = first[~np.isin(substitutes.rows[first], twice[~is_substitute])]
            second = second[~np.isin(complements.rows[second], twice[is_substitute])]
            left = complements.take(second)
            second = second[self.sieves["complement"].in_turns(query, left.rows, left.scores)]

    def _is_substitute(self, query: Query, shown: Sequence[Ranked], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of the items in `rows`, which both lists show, is rather a substitute than a complement."""
        if not self._index.about.get("calibration"):
            first, second = (_positions(ranked.rows, rows) for ranked in shown)
            ranks_higher: NDArray[np.bool_] = first <= second
            return ranks_higher
        if query.row is None:
            scores = [ranked.scores[_positions(ranked.rows, rows)] for ranked in shown]
            probabilities = class_probabilities(self._index, np.stack(scores, axis=1))
        else:
            probabilities = pair_probabilities(self._index, np.full(len(rows), query.row), rows)
        is_likelier: NDArray[np.bool_] = probabilities[:, 0] >= probabilities[:, 1]
        return is_likelier


def _pinned(ranked: Ranked, k: int) -> NDArray[np.int64]:
    """The rows of the pinned answers that are shown."""
    return np.empty(0, np.int64) if ranked.ruled is None else ranked.ruled.pinned_up_to(k).rows


def _without_pins(ranked: Ranked, rows: NDArray[np.int64]) -> Ranked:
    """The ranking without pins of some rows."""
    if ranked.ruled is None or not len(rows):
        return ranked
    kept = np.flatnonzero(~np.isin(ranked.ruled.pinned.rows, rows))
    ruled = replace(ranked.ruled, places=ranked.ruled.places[kept], pinned=ranked.ruled.pinned.take(kept))
    return replace(ranked, ruled=ruled)


def _positions(among: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of each row in a list that holds all of them."""
    order = np.argsort(among)
    positions: NDArray[np.int64] = order[np.searchsorted(among[order], rows)]
    return positions
