from __future__ import annotations

import numpy as np

from mmsc_cli.prepare.sources.demo.shop import ATTRIBUTE_INDEX, DEPARTMENTS, PRODUCT_TYPES, TIERS
from mmsc_cli.prepare.sources.demo.stock import Stock, stock_up


def test_each_type_has_its_attributes_and_no_others(stock: Stock) -> None:
    for index, kind in enumerate(PRODUCT_TYPES):
        values = stock.values[stock.product_type == index]
        own = [ATTRIBUTE_INDEX[name] for name in kind.attributes]
        assert len(values)
        assert (values[:, own] >= 0).all(), kind.name
        assert (np.delete(values, own, axis=1) == -1).all(), kind.name


def test_variants_of_a_model_differ_in_colour_alone(stock: Stock) -> None:
    order = np.lexsort((stock.colour, stock.model))
    same = np.flatnonzero(stock.model[order][1:] == stock.model[order][:-1])
    one, other = order[same], order[same + 1]
    assert len(one) > 100
    assert (stock.colour[one] != stock.colour[other]).all()
    for fact in ("product_type", "values", "tier", "brand"):
        np.testing.assert_array_equal(getattr(stock, fact)[one], getattr(stock, fact)[other])


def test_prices_follow_the_tier(stock: Stock) -> None:
    camera = stock.product_type == 0
    medians = [np.median(stock.price[camera & (stock.tier == tier)]) for tier in range(3)]
    assert medians == sorted(medians)
    assert stock.price.min() > 0


def test_brands_keep_to_their_department(stock: Stock) -> None:
    department = np.array([list(DEPARTMENTS).index(kind.category[0]) for kind in PRODUCT_TYPES])
    for brand in np.unique(stock.brand):
        assert len(np.unique(department[stock.product_type[stock.brand == brand]])) == 1


def test_popularity_has_a_heavy_tail() -> None:
    popularity = np.sort(stock_up(5_000, 1).popularity)[::-1]
    assert abs(popularity.sum() - 1) < 1e-9
    assert popularity[:50].sum() > 0.25, "the top 1 % must draw a large share"
    assert popularity[2_500:].sum() < 0.15, "the lower half must draw little"


def test_order_tells_nothing_of_the_type(stock: Stock) -> None:
    neighbours_alike = np.mean(stock.product_type[1:] == stock.product_type[:-1])
    assert neighbours_alike < 3 / len(PRODUCT_TYPES)
    assert set(np.unique(stock.tier)) == set(range(len(TIERS)))
