from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mmsc_cli.prepare.sources.demo.shoppers import Events, Shoppers
from mmsc_cli.prepare.sources.demo.stock import Stock
from mmsc_cli.prepare.sources.demo.true_pairs import TruePairs

SESSIONS = 40_000


def true_share(events: Events, one: NDArray[np.int64], other: NDArray[np.int64], items: int) -> float:
    """Share of the distinct unordered pairs of `events` that are among the given true pairs."""
    seen = np.unique(np.minimum(events.source, events.target) * items + np.maximum(events.source, events.target))
    true = np.minimum(one, other) * items + np.maximum(one, other)
    return float(np.isin(seen, true).mean())


def test_noise_is_planted_and_none_means_next_to_none(stock: Stock, truth: TruePairs) -> None:
    substitutes, complements = [], []
    for noise in (0.0, 0.25, 0.6):
        views, purchases = Shoppers(stock, truth, noise, seed=1).visit(SESSIONS)
        substitutes.append(true_share(views, truth.first, truth.second, len(stock)))
        complements.append(true_share(purchases, truth.main, truth.accessory, len(stock)))
    for shares in (substitutes, complements):
        assert shares[0] > 0.95
        assert shares == sorted(shares, reverse=True)
        assert shares[2] < 0.6


def test_every_item_is_seen_with_another(stock: Stock, truth: TruePairs) -> None:
    views, _ = Shoppers(stock, truth, 0.25, seed=1).visit(len(stock))
    assert set(views.source.tolist()) == set(range(len(stock)))
    assert (views.source != views.target).all()


def test_bestsellers_lie_in_baskets_of_every_kind(stock: Stock, truth: TruePairs) -> None:
    _, purchases = Shoppers(stock, truth, 0.25, seed=1).visit(SESSIONS)
    bestseller = int(np.argmax(stock.popularity))
    bought_with = purchases.source[purchases.target == bestseller]
    assert len(np.unique(stock.product_type[bought_with])) > 20


def test_colour_variants_are_bought_together(stock: Stock, truth: TruePairs) -> None:
    for noise, planted in ((0.0, False), (0.25, True)):
        _, purchases = Shoppers(stock, truth, noise, seed=1).visit(SESSIONS)
        same_model = stock.model[purchases.source] == stock.model[purchases.target]
        assert bool(same_model.any()) is planted


def test_accessories_follow_their_main_product_more_than_the_reverse(stock: Stock, truth: TruePairs) -> None:
    _, purchases = Shoppers(stock, truth, 0.0, seed=1).visit(SESSIONS)
    key = purchases.source * len(stock) + purchases.target
    one_way = ~truth.mutual
    main, accessory = truth.main[one_way], truth.accessory[one_way]
    forth = np.isin(key, main * len(stock) + accessory).sum()
    back = np.isin(key, accessory * len(stock) + main).sum()
    assert forth > 1.5 * back > 0


@pytest.mark.parametrize("sessions", [1_000, 5_000])
def test_more_visits_more_events(stock: Stock, truth: TruePairs, sessions: int) -> None:
    fewer, more = (Shoppers(stock, truth, 0.25, seed=1).visit(count)[0] for count in (sessions, 2 * sessions))
    assert len(more.source) > len(fewer.source)
