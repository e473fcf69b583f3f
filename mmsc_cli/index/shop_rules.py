"""Rules of the shop: answers that people block, pin to a place, or boost, whatever the model says."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import InputError, UnknownItemError, WorkspaceError
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.storage import PATH_SEPARATOR
from mmsc_cli.tables.relations import CLASSES, Relation

RuleKind = Literal["block", "pin", "boost"]
_LOG = logging.getLogger(__name__)
# Unknown names that a warning shows; it counts the others.
_SHOWN = 5


@dataclass(frozen=True)
class ShopRule:
    """One rule of the shop: for some queries, what becomes of some answers.

    Attributes:
        kind: `block`: never an answer; `pin`: the answer at `place`; `boost`: its odds are `factor` times as high.
        item: the answer, by id; or
        category: the answers, by a category path and all below it.
        query: only for this query; or
        query_category: only for queries of this category path and all below it. Without both: for every query.
        relation: in which relation.
        place: where a pinned item stands, from 1.
        factor: of a boost; below 1, answers come later.
        origin: where the rule is written, for messages.
    """

    kind: RuleKind
    item: str | None = None
    category: str | None = None
    query: str | None = None
    query_category: str | None = None
    relation: Literal["substitute", "complement", "both"] = "both"
    place: int | None = None
    factor: float | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        if wrong := self._wrong():
            raise InputError(f"{self.origin}: {wrong}" if self.origin else wrong)

    def _wrong(self) -> str | None:
        if (self.item is None) == (self.category is None):
            return f"a {self.kind} rule has either an item or a category"
        if self.query is not None and self.query_category is not None:
            return f"a {self.kind} rule has a query or a query_category, not both"
        if (self.factor is not None) != (self.kind == "boost"):
            return "a boost needs a factor" if self.kind == "boost" else f"a {self.kind} rule has no factor"
        if (self.place is not None) != (self.kind == "pin"):
            return "a pin needs a place" if self.kind == "pin" else f"a {self.kind} rule has no place"
        if self.factor is not None and not (self.factor > 0 and math.isfinite(self.factor)):
            return f"factor {self.factor:g} is not above 0"
        if self.place is not None and self.place < 1:
            return f"place {self.place} is not 1 or more"
        if self.kind == "pin":
            if self.item is None:
                return "a pin has an item, not a category"
            if self.query is None and self.query_category is None:
                return "a pin needs a query or a query_category"
            if self.relation == "both":
                return "a pin needs a relation: substitute or complement"
        return None


@dataclass(frozen=True)
class Effects:
    """What the rules say of the answers to one query in one relation.

    Attributes:
        blocked: rows that are no answers, ascending.
        boosted: rows whose scores change, ascending.
        amounts: by how much, shape (n_boosted,).
        pins: places, from 1, and rows, in the order of places; none is blocked, and no row or place occurs twice.
    """

    blocked: NDArray[np.int64]
    boosted: NDArray[np.int64]
    amounts: NDArray[np.float32]
    pins: tuple[tuple[int, int], ...]

    def boosts_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """By how much the scores of some rows change, (n_rows,)."""
        amounts = np.zeros(len(rows), np.float32)
        if len(self.boosted):
            at = np.searchsorted(self.boosted, rows).clip(max=len(self.boosted) - 1)
            found = self.boosted[at] == rows
            amounts[found] = self.amounts[at[found]]
        return amounts

    def blocks(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some rows are blocked, (n_rows,)."""
        if not len(self.blocked):
            return np.zeros(len(rows), np.bool_)
        at = np.searchsorted(self.blocked, rows).clip(max=len(self.blocked) - 1)
        blocked: NDArray[np.bool_] = self.blocked[at] == rows
        return blocked

    def most(self) -> float:
        """The most that a boost adds to a score; 0 if none adds anything."""
        return max(0.0, float(self.amounts.max(initial=0.0)))


@dataclass(frozen=True, eq=False)
class _Found:
    """A rule whose names were found in the index: of which rows, and what it says of them."""

    rule: ShopRule
    rows: NDArray[np.int64]


class RuleBook:
    """Rules of the shop, prepared for one index; may be used by several threads at once."""

    def __init__(self, index: Index, rules: Sequence[ShopRule]) -> None:
        """Find the items and categories that the rules name, and warn of those that are not in the catalogue.

        Raises:
            InputError: two rules pin different items to one place.
            WorkspaceError: a rule names a category, and the index has none.
        """
        self.rules = tuple(rules)
        self._index = index
        self._category: NDArray[np.int32] | None = index.optional("category")
        # Names that are not in the catalogue, with the places where they are written: of items, and of categories.
        self.unknown: dict[str, list[str]] = {}
        self._everywhere: list[_Found] = []
        self._of_category: dict[int, list[_Found]] = {}
        self._of_query: dict[int, list[_Found]] = {}
        for rule in rules:
            self._add(rule)
        for what, names in self.unknown.items():
            _warn(f"not in the catalogue, {what}", names)
        own = [
            _named(rule.item, rule) for rule in rules if rule.kind == "pin" and rule.item and rule.item == rule.query
        ]
        if own:
            _warn("an item is no answer to itself, these pins do nothing", own)
        self._check_pins()
        # Of the queries without rules of their own, by category.
        self._general: dict[tuple[int, Relation], Effects | None] = {}

    @cached_property
    def digest(self) -> str:
        """Names what the rules say, wherever they are written; empty without rules."""
        return digest_of(self.rules)

    def __bool__(self) -> bool:
        """Whether there is a rule whose names are in the catalogue."""
        return bool(self._everywhere or self._of_category or self._of_query)

    def effects(self, query: Query, relation: Relation) -> Effects | None:
        """What the rules say of a query's answers; None if they say nothing.

        A rule for a query, or for its category, holds for a basket with such an item.
        """
        own = [found for row in query.rows for found in self._of_query.get(row, [])]
        if own or query.items:
            of_categories = [found for number in query.categories for found in self._of_category.get(number, [])]
            return self._combined([*self._everywhere, *dict.fromkeys(of_categories), *own], relation)
        # Categories without rules of their own share what holds everywhere.
        key = query.category if query.category in self._of_category else -1, relation
        if key not in self._general:
            self._general[key] = self._combined([*self._everywhere, *self._of_category.get(key[0], [])], relation)
        return self._general[key]

    def _add(self, rule: ShopRule) -> None:
        rows = self._rows(rule)
        if rule.query is not None:
            row = self._row(rule.query, rule)
            places = [] if row is None else [self._of_query.setdefault(row, [])]
        elif rule.query_category is not None:
            numbers = self._numbers(rule.query_category, rule)
            places = [self._of_category.setdefault(number, []) for number in numbers.tolist()] if len(rows) else []
        else:
            places = [self._everywhere]
        for place in places:
            if len(rows):
                place.append(_Found(rule, rows))

    def _rows(self, rule: ShopRule) -> NDArray[np.int64]:
        if rule.item is not None:
            row = self._row(rule.item, rule)
            return np.array([] if row is None else [row], np.int64)
        assert rule.category is not None
        numbers = self._numbers(rule.category, rule)
        assert self._category is not None
        return np.flatnonzero(np.isin(self._category, numbers)) if len(numbers) else np.empty(0, np.int64)

    def _row(self, item_id: str, rule: ShopRule) -> int | None:
        try:
            return self._index.row(item_id)
        except UnknownItemError:
            self.unknown.setdefault("items", []).append(_named(item_id, rule))
            return None

    def _numbers(self, path: str, rule: ShopRule) -> NDArray[np.int32]:
        """The numbers of a category path and of all below it."""
        if self._category is None:
            raise WorkspaceError("a rule names a category, and the index has none", hint="run `mmsc train` again")
        wanted = PATH_SEPARATOR.join(name.strip() for name in path.split(PATH_SEPARATOR.strip()))
        paths = self._paths
        below = wanted + PATH_SEPARATOR
        numbers = [number for number, known in enumerate(paths) if known == wanted or known.startswith(below)]
        if not numbers:
            close = get_close_matches(wanted, paths, n=1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            self.unknown.setdefault("categories", []).append(_named(path, rule) + meant)
        return np.array(numbers, np.int32)

    @cached_property
    def _paths(self) -> list[str]:
        return list(self._index.categories)

    def _combined(self, found: Sequence[_Found], relation: Relation) -> Effects | None:
        """Put rules together: blocks win over pins, factors are multiplied, a query's own pins come first."""
        valid = [one for one in found if one.rule.relation in ("both", relation)]
        if not valid:
            return None
        blocked = _union([one.rows for one in valid if one.rule.kind == "block"])
        boosts = [one for one in valid if one.rule.kind == "boost"]
        boosted = _union([one.rows for one in boosts])
        amounts = np.zeros(len(boosted), np.float64)
        for one in boosts:
            assert one.rule.factor is not None
            amounts[np.searchsorted(boosted, one.rows)] += math.log(one.rule.factor)
        amounts /= _log_odds_per_score(self._index, relation)
        gone = set(blocked.tolist())
        pins: dict[int, int] = {}
        for one in sorted((one for one in valid if one.rule.kind == "pin"), key=_precedence):
            (row,), place = one.rows.tolist(), one.rule.place
            assert place is not None
            if row not in gone and row not in pins.values():
                while place in pins:
                    place += 1
                pins[place] = row
        return Effects(blocked, boosted, amounts.astype(np.float32), tuple(sorted(pins.items())))

    def _check_pins(self) -> None:
        """Refuse two pins of one query, or of one category, to the same place."""
        for found in (*self._of_category.values(), *self._of_query.values()):
            taken: dict[tuple[str, int | None], _Found] = {}
            for one in found:
                if one.rule.kind != "pin":
                    continue
                other = taken.setdefault((one.rule.relation, one.rule.place), one)
                if other.rows.tolist() != one.rows.tolist() and other.rule.query_category == one.rule.query_category:
                    where = one.rule.query or one.rule.query_category
                    raise InputError(
                        f"{one.rule.origin or 'rules'}: {other.rule.item} and {one.rule.item} are both pinned to place "
                        f"{one.rule.place} of the {one.rule.relation}s of {where}",
                        hint="give each a place of its own",
                    )


def digest_of(rules: Sequence[ShopRule]) -> str:
    """Name what some rules say, wherever they are written; empty without rules."""
    said = repr([astuple(replace(rule, origin="")) for rule in rules])
    return sha256(said.encode()).hexdigest()[:16] if rules else ""


def _precedence(pin: _Found) -> tuple[bool, int, int]:
    """Pins of the query itself come first, then those of the narrowest category, then those of the first places."""
    assert pin.rule.place is not None
    return pin.rule.query is None, -len(pin.rule.query_category or ""), pin.rule.place


def _log_odds_per_score(index: Index, relation: Relation) -> float:
    """By how much the log-odds of a relation against `neither` rise as its score rises by 1.

    It is 1 where the index has no calibration, or one in which they do not rise.
    """
    calibration = index.about.get("calibration")
    if not calibration:
        return 1.0
    own, column = CLASSES.index(relation), CLASSES.index(relation)
    coefficients = np.array(calibration["coefficients"])
    rise = (coefficients[own, column] - coefficients[CLASSES.index("neither"), column]) / calibration["scale"][column]
    return float(rise) if rise > 0 else 1.0


def _union(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.unique(np.concatenate(rows)) if rows else np.empty(0, np.int64)


def _warn(what: str, names: Sequence[str]) -> None:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    _LOG.warning("rules: %s: %s%s", what, ", ".join(names[:_SHOWN]), more)


def _named(name: str, rule: ShopRule) -> str:
    return f"{name} ({rule.origin})" if rule.origin else name
