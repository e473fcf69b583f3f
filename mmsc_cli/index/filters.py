"""Filters: which items may be answers, and in which order they come."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.top import best_rows
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.kept_columns import Condition, KeptColumns
from mmsc_cli.index.query import Query
from mmsc_cli.index.shop_rules import Effects, RuleBook
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.tables.relations import RELATIONS, Relation

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Filters:
    """Conditions on answers; the defaults let everything pass.

    Items with no category match neither category filter; items with no price never pass `price_within`.

    Attributes:
        novel: leave out pairs known from training.
        min_score: the lowest score.
        min_truth: the lowest probability, 0 to 1, that the student of labels gives the relation. What it was not asked
            about does not pass, and so no answer for an item that is not in the catalogue.
        category: `same` or `other`, by the whole category path.
        price_within: the largest difference to the query's price, as a fraction of it; for substitutes only.
        in_stock: the only ids that may be answers; ids that are not in the catalogue are ignored.
        where: conditions on kept columns, such as `colour=red`, `colour!=red` or `weight<=2.5`; all must hold, of
            several `=` on one column one. An item without a value passes none.
        variants: several variants of one product may be answers; otherwise only the best one. Variants of the query are
            never its complements.
        diversify: complements of different product types first: the best of each type (whole category path), then the
            second best of each, and so on; the query's own type starts one round later.
    """

    novel: bool = False
    min_score: float | None = None
    min_truth: float | None = None
    category: Literal["same", "other"] | None = None
    price_within: float | None = None
    in_stock: Collection[str] | None = None
    where: Sequence[str] = ()
    variants: bool = False
    diversify: bool = False

    def __post_init__(self) -> None:
        if self.price_within is not None and not (self.price_within >= 0 and math.isfinite(self.price_within)):
            raise InputError("--price-within must be at least 0%", hint="for example --price-within 20%; 0.2 in Python")
        if self.min_score is not None and math.isnan(self.min_score):
            raise InputError("--min-score is not a number", hint="give a number, or leave it out")
        if self.min_truth is not None and not 0 <= self.min_truth <= 1:
            raise InputError("--min-truth is a probability, from 0 to 1", hint="for example --min-truth 0.5")
        if self.in_stock is not None:
            object.__setattr__(self, "in_stock", frozenset(self.in_stock))
        object.__setattr__(self, "where", (self.where,) if isinstance(self.where, str) else tuple(self.where))
        for condition in self.where:
            Condition.parse(condition)


def sieves(
    index: Index,
    filters: Filters | Mapping[Relation, Filters],
    book: RuleBook | None = None,
    kept: KeptColumns | None = None,
) -> dict[Relation, Sieve]:
    """A sieve per relation: the same for both, or those of a mapping, in which a relation may be missing.

    Args:
        index: where the items are.
        filters: conditions on answers.
        book: rules of the shop, which hold in both relations.
        kept: what `where` is about; None: no column is kept.

    Raises:
        WorkspaceError: the index, of an earlier version, lacks what a filter needs.
    """
    if isinstance(filters, Filters):
        return dict.fromkeys(RELATIONS, Sieve(index, filters, book, kept))
    first, second = (filters.get(relation, Filters()) for relation in RELATIONS)
    sieve = Sieve(index, first, book, kept)
    other = sieve if second == first else Sieve(index, second, book, kept)
    return dict(zip(RELATIONS, (sieve, other), strict=True))


class Sieve:
    """Filters and rules of the shop, prepared for one index."""

    def __init__(
        self, index: Index, filters: Filters, book: RuleBook | None = None, kept: KeptColumns | None = None
    ) -> None:
        """Look up the tensors that the filters need.

        Raises:
            WorkspaceError: the index, of an earlier version, lacks one; or the kept columns are damaged.
            InputError: a condition is about a column that is not kept, or its value is not of the column's kind.
        """
        self.filters = filters
        self._book = book or None
        self._index = index
        self._group: NDArray[np.int32] | None = index.optional("group")
        # Whether nothing but the query itself is left out.
        self.is_plain = filters == Filters() and self._book is None and self._group is None
        self._category: NDArray[np.int32] | None = None
        if filters.category is not None or filters.diversify:
            self._category = self._needed("category")
        self._price: NDArray[np.float32] | None = None
        if filters.price_within is not None:
            self._price = self._needed("price")
        self._truth: dict[Relation, NDArray[np.float32]] = {}
        if filters.min_truth is not None:
            self._truth = {relation: index.truth(relation) for relation in RELATIONS}
        self._banned_always: NDArray[np.bool_] | None = None
        if filters.in_stock is not None:
            available = index.ids.among(filters.in_stock)
            if unknown := len(filters.in_stock) - int(available.sum()):
                _LOG.info("in stock: ignored %s not in the catalogue", counted(unknown, "id"))
            self._banned_always = ~available
        if filters.where:
            if kept is None:
                raise InputError("this index stands alone, without kept columns", hint="leave --where out")
            passing, doubts = kept.passes(map(Condition.parse, filters.where))
            for doubt in doubts:
                _LOG.warning("%s", doubt)
            self._banned_always = ~passing if self._banned_always is None else self._banned_always | ~passing

    def is_open(self) -> bool:
        """Whether only pairs known from training, or low scores, are left out."""
        plain = replace(self.filters, novel=False, min_score=None, variants=False) == Filters()
        return self._group is None and self._book is None and plain

    def effects(self, query: Query, relation: Relation) -> Effects | None:
        """What the rules of the shop say of a query's answers; None if they say nothing."""
        return None if self._book is None else self._book.effects(query, relation)

    def leave_out(self, query: Query, relation: Relation, scores: NDArray[np.float32]) -> None:
        """Set the scores (n_items,) of items that may not be answers to -inf."""
        scores[self.left_out_of(query)] = -np.inf
        for banned in self._banned(query, relation, slice(None)):
            scores[banned] = -np.inf
        if self.filters.min_truth is not None:
            scores[~self._is_true(query, relation)] = -np.inf
        self.too_low(scores)

    def leave_out_among(
        self, query: Query, relation: Relation, rows: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> None:
        """Do the same with the scores of some rows only."""
        scores[~self.admits(query, relation, rows)] = -np.inf
        if self.filters.min_truth is not None:
            scores[~self._is_true(query, relation)[rows]] = -np.inf
        self.too_low(scores)

    def admits(self, query: Query, relation: Relation, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some rows (n_rows,) may be answers, if `min_score` and `min_truth`, which judge a model, are not."""
        asked = query.rows
        allowed: NDArray[np.bool_] = rows != asked[0] if asked else np.ones(len(rows), np.bool_)
        for row in asked[1:]:
            allowed &= rows != row
        for row in asked if self.filters.novel else ():
            allowed &= ~np.isin(rows, self._index.known.columns(row))
        for banned in self._banned(query, relation, rows):
            allowed &= ~banned
        return allowed

    def variants_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """All rows that may not be shown beside some rows: these, and other variants of the same products."""
        if self._group is None or self.filters.variants:
            return rows
        groups = self._group[rows]
        return np.union1d(rows, np.flatnonzero(np.isin(self._group, groups[groups >= 0])))

    def products(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """A number of the product of each row: variants have the same, unless several of them may be answers."""
        if self._group is None or self.filters.variants:
            return rows
        groups = self._group[rows]
        return np.where(groups >= 0, len(self._group) + groups, rows)

    def _banned(self, query: Query, relation: Relation, rows: slice | NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
        """Masks over some rows of what stock, kept columns, category, variants and price rule out."""
        if self._banned_always is not None:
            yield self._banned_always[rows]
        if self.filters.category is not None and self._category is not None:
            category, own = self._category[rows], query.categories
            same = np.zeros(len(category), np.bool_)
            for number in own:
                same |= category == number
            yield ~same if self.filters.category == "same" else same | (category < 0) if own else ~same
        for group in query.groups if self._group is not None and relation == "complement" else ():
            assert self._group is not None
            yield self._group[rows] == group
        if self._price is not None and relation == "substitute":
            assert self.filters.price_within is not None
            # With a tolerance, as prices are stored in single precision.
            most = self.filters.price_within * query.price * (1 + 1e-6) + 1e-6 * query.price
            yield ~(np.abs(self._price[rows] - query.price) <= most)

    def _is_true(self, query: Query, relation: Relation) -> NDArray[np.bool_]:
        """Which items (n_items,) the student gives at least `min_truth`."""
        passes = np.zeros(len(self._index), np.bool_)
        linear = self._index.vectors(relation).linear
        for row in query.rows:
            assert self.filters.min_truth is not None
            entries = self._truth[relation][linear.row(row)]
            passes[linear.columns(row)[entries >= self.filters.min_truth]] = True
        return passes

    def left_out_of(self, query: Query) -> NDArray[np.int64]:
        """Rows that are never answers to a query: its own, and, with `novel`, those of known pairs."""
        rows = np.array(query.rows, np.int64)
        known = [self._index.known.columns(row) for row in query.rows] if self.filters.novel else []
        return np.concatenate([rows, *known])

    def too_low(self, scores: NDArray[np.float32]) -> None:
        """Set scores below `min_score` to -inf."""
        if self.filters.min_score is not None:
            scores[scores < self.filters.min_score] = -np.inf

    def best(self, query: Query, relation: Relation, scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Rows of the answers, best first, from scores (n_items,) in which left-out items have -inf."""
        diversify = self.takes_turns(relation)
        one_per_group = self._group is not None and not self.filters.variants
        if not (diversify or one_per_group):
            return best_rows(scores, k)
        width = min(8 * k, len(scores))
        while True:
            best = best_rows(scores, width)
            rows = self._first_of_groups(best) if one_per_group else best
            turn = np.zeros(len(rows), np.int64)
            if diversify and self._category is not None:
                turn = _turns(self._category[rows], query.categories)
            if len(best) < width or width == len(scores) or np.count_nonzero(turn == 0) >= k:
                return rows[np.argsort(turn, kind="stable")[:k]]
            width = min(4 * width, len(scores))

    def best_among(self, rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Positions of the answers, best first, from ascending rows and their scores; without turns of types."""
        if self._group is None or self.filters.variants:
            return best_rows(scores, k)
        best = best_rows(scores, len(scores))
        kept = np.isin(rows[best], self._first_of_groups(rows[best]), assume_unique=True)
        return best[kept][:k]

    def takes_turns(self, relation: Relation) -> bool:
        """Whether answers come in turns of product types."""
        return self.filters.diversify and relation == "complement"

    def one_per_product(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows, best first, without those of a product that comes earlier among them, unless variants may be."""
        return rows if self._group is None or self.filters.variants else self._first_of_groups(rows)

    def _first_of_groups(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows without those of a group that comes earlier among them."""
        assert self._group is not None
        group = self._group[rows]
        first = np.unique(group, return_index=True)[1]
        keep = group < 0
        keep[first] = True
        return rows[keep]

    def in_turns(self, query: Query, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
        """Positions of complements (n_answers,) in the order in which they are shown."""
        order = np.argsort(-scores, kind="stable")
        if self._category is None or not self.filters.diversify:
            return order
        return order[np.argsort(_turns(self._category[rows[order]], query.categories), kind="stable")]

    def _needed(self, name: str) -> NDArray[Any]:
        tensor = self._index.optional(name)
        if tensor is None:
            raise WorkspaceError(f"this index has no {name} of its items", hint="run `mmsc train` again")
        return tensor


def _turns(types: NDArray[np.int32], own: Sequence[int]) -> NDArray[np.int64]:
    """The round (n_rows,) in which each row comes, from product types, best first; those in `own` start one later."""
    order = np.argsort(types, kind="stable")
    ordered = types[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    turn = np.empty(len(types), np.int64)
    turn[order] = np.arange(len(types)) - np.repeat(starts, np.diff(starts, append=len(types)))
    turn[np.isin(types, own)] += 1
    return turn
