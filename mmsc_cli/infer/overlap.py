"""Answers in both relations, shared out so that no product answers a query twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """Ranks substitutes and complements of queries, with no item in both lists of a query, nor variants of one product.

    An item that both lists would show, or of whose product both would show a variant, goes to the relation in which its
    calibrated probability is higher; without calibration, to the one in which it ranks higher. The other list then
    shows one more item. An item that the shop pinned stays where it is pinned, if in both relations, among the
    substitutes.
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
        products = self.sieves["substitute"].products
        pinned = products(_pinned(substitutes, self.k))
        complements = _without_pins(complements, pinned, products)
        of_first, of_second = products(substitutes.rows), products(complements.rows)
        # Positions in the two rankings of the items that are left, in the order in which they are shown.
        first = np.flatnonzero(~np.isin(of_first, products(_pinned(complements, self.k))))
        second = np.flatnonzero(~np.isin(of_second, pinned))
        while True:
            shown = [substitutes.take(first).placed(self.k), complements.take(second).placed(self.k)]
            twice, *places = np.intersect1d(products(shown[0].rows), products(shown[1].rows), return_indices=True)
            if not len(twice):
                return shown
            is_substitute = self._is_substitute(query, shown, places)
            first = first[~np.isin(of_first[first], twice[~is_substitute])]
            second = second[~np.isin(of_second[second], twice[is_substitute])]
            left = complements.take(second)
            second = second[self.sieves["complement"].in_turns(query, left.rows, left.scores)]

    def _is_substitute(
        self, query: Query, shown: Sequence[Ranked], places: Sequence[NDArray[np.int64]]
    ) -> NDArray[np.bool_]:
        """Whether each product that both lists show, at its place in each, is rather a substitute than a complement."""
        if not self._index.about.get("calibration"):
            ranks_higher: NDArray[np.bool_] = places[0] <= places[1]
            return ranks_higher
        if query.row is None:
            scores = [ranked.scores[place] for ranked, place in zip(shown, places, strict=True)]
            probabilities = [class_probabilities(self._index, np.stack(scores, axis=1))] * 2
        else:
            ends = np.concatenate([ranked.rows[place] for ranked, place in zip(shown, places, strict=True)])
            both = pair_probabilities(self._index, np.full(len(ends), query.row), ends)
            probabilities = np.split(both, 2)
        is_likelier: NDArray[np.bool_] = probabilities[0][:, 0] >= probabilities[1][:, 1]
        return is_likelier


def _pinned(ranked: Ranked, k: int) -> NDArray[np.int64]:
    """The rows of the pinned answers that are shown."""
    return np.empty(0, np.int64) if ranked.ruled is None else ranked.ruled.pinned_up_to(k).rows


def _without_pins(
    ranked: Ranked, pinned: NDArray[np.int64], products: Callable[[NDArray[np.int64]], NDArray[np.int64]]
) -> Ranked:
    """The ranking without pins of some products."""
    if ranked.ruled is None or not len(pinned):
        return ranked
    kept = np.flatnonzero(~np.isin(products(ranked.ruled.pinned.rows), pinned))
    ruled = replace(ranked.ruled, places=ranked.ruled.places[kept], pinned=ranked.ruled.pinned.take(kept))
    return replace(ranked, ruled=ruled)
