"""Simulated visits: a shopper lands on an item, looks at alternatives, and buys something that goes with it.

Visits follow popularity. Where attention is misled (`noise`) a shopper who compares opens an accessory,
something unrelated by accident, or a bestseller; a shopper who buys adds a bestseller to the basket, the
same model in a second colour, a rival of the item, what goes with something else in the basket, or
something unrelated.

Weighted draws of a partner for many items at once.

From events to what a shop publishes: for each item an ordered list of its most frequent partners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.prepare.records import list_strength
from mmsc_cli.prepare.sources.demo.stock import Stock
from mmsc_cli.prepare.sources.demo.true_pairs import TruePairs
from mmsc_cli.runtime.seeds import numpy_generator


class PartnerPool:
    """Draws a partner of an item, in proportion to the weight of each candidate."""

    def __init__(
        self,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        weight: NDArray[np.float64],
        items: int,
        random: np.random.Generator,
    ) -> None:
        """Candidate pairs and their weights, shape (candidates,); `items` is the size of the catalogue."""
        order = np.argsort(source, kind="stable")
        self._target = np.append(target[order], -1)
        self._first = np.searchsorted(source[order], np.arange(items + 1))
        self._cumulative = np.concatenate([[0.0], np.cumsum(weight[order])])
        self._random = random

    def draw(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one partner for each of `rows`; -1 for a row of -1 and for an item without any."""
        first, end = self._first[rows], self._first[rows + 1]
        low, high = self._cumulative[first], self._cumulative[end]
        point = low + self._random.random(len(rows)) * (high - low)
        place = np.searchsorted(self._cumulative, point, side="right") - 1
        drawn = self._target[np.clip(place, first, np.maximum(end - 1, first))]
        return np.where((rows >= 0) & (end > first), drawn, -1)


Rows = NDArray[np.int64]
Draw = Callable[[Rows], Rows]

BROWSING = 0.7  # share of visits that go on to alternatives
BUYING = 0.6  # share of visits that end with a basket of several items
LAST_PAGE = 0.45  # chance that a further page is the last
LAST_BOUGHT = 0.6  # chance that a further item in the basket is the last
AGAINST_DIRECTION = 0.25  # share of baskets where an accessory may lead to its main product
CHOICE_SKEW = 0.75  # alternatives and accessories are chosen by popularity to this power
SAME_MODEL = 2.0  # colour variants are looked at so many times as often as other alternatives
BESTSELLERS = 0.005  # share of the catalogue


@dataclass(frozen=True)
class Events:
    """Pairs of items in one visit, the later one as `target`, with repetitions; shape (events,)."""

    source: Rows
    target: Rows


class Shoppers:
    """What shoppers choose next to an item, and how they are misled."""

    def __init__(self, stock: Stock, truth: TruePairs, noise: float, seed: int) -> None:
        """`noise` is the share of choices that are misled, in [0, 1)."""
        self._stock = stock
        self._noise = noise
        self._random = numpy_generator(seed, "demo/shoppers")
        self._pull = stock.popularity**CHOICE_SKEW
        best = max(5, round(BESTSELLERS * len(stock)))
        self._bestsellers = np.argsort(-stock.popularity, kind="stable")[:best]

        one, other = _both_ways(truth.first, truth.second)
        same = stock.model[one] == stock.model[other]
        self._alternatives = self._pool(one, other, np.where(same, SAME_MODEL, 1.0))
        self._variants = self._pool(one[same], other[same])
        one, other = _both_ways(truth.main, truth.accessory)
        onward = np.concatenate([np.ones_like(truth.mutual), truth.mutual])
        self._complements = self._pool(one, other)
        self._onward = self._pool(one[onward], other[onward])

    def visit(self, sessions: int) -> tuple[Events, Events]:
        """Simulate `sessions` visits; return views and purchases.

        Every item is the start of at least one visit that goes on, so that none is without behaviour.
        """
        items = len(self._stock)
        starts = self._random.choice(items, size=max(0, sessions - items), p=self._stock.popularity)
        going_on = starts[self._random.random(len(starts)) < BROWSING]
        buying = starts[self._random.random(len(starts)) < BUYING]
        return self._browse(np.concatenate([np.arange(items), going_on])), self._buy(buying)

    def _browse(self, starts: Rows) -> Events:
        anchor = np.repeat(starts, self._random.geometric(LAST_PAGE, size=len(starts)))
        ways: dict[Draw, float] = {self._complements.draw: 0.5, self._unrelated: 0.3, self._bestseller: 0.2}
        seen = self._mislead(self._alternatives.draw(anchor), anchor, ways)
        nothing_alike = (seen < 0) | (seen == anchor)
        seen = np.where(nothing_alike, self._unrelated(anchor), seen)
        return _events(*_both_ways(anchor, seen))

    def _buy(self, starts: Rows) -> Events:
        anchor = np.repeat(starts, self._random.geometric(LAST_BOUGHT, size=len(starts)))
        turns_back = self._random.random(len(anchor)) < AGAINST_DIRECTION
        added = np.where(turns_back, self._complements.draw(anchor), self._onward.draw(anchor))
        ways: dict[Draw, float] = {
            self._bestseller: 0.35,
            self._variants.draw: 0.2,
            self._alternatives.draw: 0.2,
            self._beside: 0.15,
            self._unrelated: 0.1,
        }
        return _events(anchor, self._mislead(added, anchor, ways))

    def _mislead(self, meant: Rows, anchor: Rows, ways: dict[Draw, float]) -> Rows:
        """Replace a share of the choices, each by one of the `ways` (and its share of the noise)."""
        chosen = meant.copy()
        misled = self._random.random(len(meant)) < self._noise
        way = self._random.choice(len(ways), size=len(meant), p=list(ways.values()))
        for index, draw in enumerate(ways):
            here = misled & (way == index)
            chosen[here] = draw(anchor[here])
        return chosen

    def _unrelated(self, rows: Rows) -> Rows:
        drawn = self._random.choice(len(self._stock), size=len(rows), p=self._pull / self._pull.sum())
        return np.where(drawn == rows, (rows + 1) % len(self._stock), drawn)

    def _bestseller(self, rows: Rows) -> Rows:
        return self._random.choice(self._bestsellers, size=len(rows))

    def _beside(self, rows: Rows) -> Rows:
        """What goes with something that goes with the item."""
        return self._complements.draw(self._complements.draw(rows))

    def _pool(self, source: Rows, target: Rows, factor: NDArray[np.float64] | float = 1.0) -> PartnerPool:
        return PartnerPool(source, target, self._pull[target] * factor, len(self._stock), self._random)


def _both_ways(one: Rows, other: Rows) -> tuple[Rows, Rows]:
    return np.concatenate([one, other]), np.concatenate([other, one])


def _events(source: Rows, target: Rows) -> Events:
    """Keep the pairs of two different items."""
    real = (target >= 0) & (source != target)
    return Events(source[real], target[real])


VIEWED = 30  # longest list of "also viewed"
BOUGHT = 40  # longest list of "also bought"
ENOUGH = 1  # beyond this place, partners seen once are left out


@dataclass(frozen=True)
class ShopEdges:
    """Directed observations of one behaviour: shoppers of `source` also viewed (or bought) `target`.

    All arrays have shape (edges,); `source` and `target` are rows of the catalogue, `strength` is above 0.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    strength: NDArray[np.float32]


def ranked_lists(events: Events, items: int, longest: int, random: np.random.Generator) -> ShopEdges:
    """Rank each item's partners by number of events and keep the first `longest`.

    Strength is that of the lists in Amazon's data, see `list_strength`. `random` breaks ties.
    """
    pair, count = np.unique(events.source * items + events.target, return_counts=True)
    source, target = np.divmod(pair, items)
    order = np.lexsort((random.permutation(len(pair)), -count, source))
    source, target, count = source[order], target[order], count[order]
    position = np.arange(len(source)) - np.searchsorted(source, source) + 1
    keep = (position <= longest) & ((count > 1) | (position <= ENOUGH))
    strength = list_strength(position[keep])
    return ShopEdges(source[keep], target[keep], strength.astype(np.float32))
