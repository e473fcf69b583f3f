"""Bestsellers, which fill a list where the model has too few answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.index.filters import Sieve
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import Ranked
from mmsc_cli.infer.shop.going_together import GoingTogether
from mmsc_cli.tables.relations import Relation

# Bestsellers that are looked at together.
_AT_A_TIME = 1_024


class ListLimits(Protocol):
    """What a ranker says of the lists it makes: their length, and which answers may be in them."""

    @property
    def k(self) -> int:
        """The number of answers."""

    @property
    def sieves(self) -> Mapping[Relation, Sieve]:
        """The filters and rules of each relation."""


class Bestsellers:
    """The items that shoppers bought together with others most often, of a category and of the whole catalogue.

    An index knows sales by its pairs alone: an item that was only ever bought by itself has none. Items without a
    co-purchase follow in the order of their co-views; items without any pair are no bestsellers.
    """

    def __init__(self, index: Index) -> None:
        """Sort the items of an index."""
        bought, viewed = (_support(index, relation) for relation in ("complement", "substitute"))
        order = np.lexsort((-viewed, -bought))
        self._order: NDArray[np.int64] = order[(bought + viewed)[order] > 0]
        self._index = index
        self._category = index.optional("category")
        self._of_category: dict[tuple[int, ...], NDArray[np.int64]] = {}

    def fills(self, query: Query, rankings: Sequence[Ranked], ranker: ListLimits) -> list[list[int]]:
        """For each ranking of a query, rows of bestsellers that fill it up.

        Substitutes are of its category, complements of the categories that go with it, the best first; then of the
        catalogue. None is in any of the query's rankings. The filters and the rules of the ranker hold, except
        conditions on scores: a bestseller has none.
        """
        shown = np.concatenate([np.empty(0, np.int64), *(ranked.rows for ranked in rankings)])
        fills = []
        for ranked in rankings:
            filled = self._fill(query, ranked, ranker.sieves[ranked.relation], shown, ranker.k - len(ranked.rows))
            shown = np.concatenate([shown, filled])
            fills.append(filled.tolist())
        return fills

    def _fill(
        self, query: Query, ranked: Ranked, sieve: Sieve, shown: NDArray[np.int64], count: int
    ) -> NDArray[np.int64]:
        filled = np.empty(0, np.int64)
        if count <= 0:
            return filled
        taken = sieve.variants_of(shown)
        for candidates in self._candidates(query, ranked.relation):
            allowed = sieve.admits(query, ranked.relation, candidates) & ~np.isin(
                candidates, np.concatenate([taken, filled])
            )
            if ranked.ruled is not None:
                allowed &= ~ranked.ruled.effects.blocks(candidates)
            filled = sieve.one_per_product(np.concatenate([filled, candidates[allowed]]))[:count]
            if len(filled) == count:
                break
        return filled

    def _candidates(self, query: Query, relation: Relation) -> Iterator[NDArray[np.int64]]:
        own = tuple(sorted(query.categories))
        groups = [own] if relation == "substitute" else [(number,) for number in self._go_with.categories(own)]
        for rows in (*(self._in_categories(group) for group in groups), self._order):
            for start in range(0, len(rows), _AT_A_TIME):
                yield rows[start : start + _AT_A_TIME]

    @cached_property
    def _go_with(self) -> GoingTogether:
        return GoingTogether(self._index)

    def _in_categories(self, numbers: tuple[int, ...]) -> NDArray[np.int64]:
        if self._category is None or not numbers:
            return np.empty(0, np.int64)
        if len(numbers) > 1:  # of a basket: too many to keep
            return self._order[np.isin(self._category[self._order], numbers)]
        if numbers not in self._of_category:
            self._of_category[numbers] = self._order[self._category[self._order] == numbers[0]]
        return self._of_category[numbers]


def _support(index: Index, relation: Relation) -> NDArray[np.float64]:
    """How often each item was bought, or viewed, together with others, (n_items,); by strengths where counts lack."""
    together = index.optional(f"known.together.{relation}")
    weight = together if together is not None and together.any() else index.optional(f"known.strength.{relation}")
    if weight is None:
        return np.zeros(len(index))
    return index.known.row_sums(weight)
