from __future__ import annotations

from mmsc_cli.prepare.sources.demo.drawings import SHAPES
from mmsc_cli.prepare.sources.demo.shop import (
    ATTRIBUTE_INDEX,
    ATTRIBUTES,
    COMPATIBILITY,
    DEPARTMENTS,
    PRODUCT_TYPES,
    TIERS,
    TYPE_INDEX,
)


def test_some_forty_types_in_several_departments() -> None:
    assert 40 <= len(PRODUCT_TYPES) <= 45
    assert len({kind.category[0] for kind in PRODUCT_TYPES}) == len(DEPARTMENTS) >= 6
    assert {len(kind.category) for kind in PRODUCT_TYPES} == {2, 3, 4}


def test_every_type_is_complete() -> None:
    for kind in PRODUCT_TYPES:
        assert kind.category[0] in DEPARTMENTS, kind.name
        assert set(kind.attributes) <= set(ATTRIBUTE_INDEX), kind.name
        assert kind.substitute_on, kind.name
        assert set(kind.substitute_on) <= set(kind.attributes), kind.name
        assert len(kind.nouns) >= 2, kind.name
        assert SHAPES[kind.name], kind.name


def test_both_ends_of_an_edge_have_its_attribute_and_every_type_has_an_edge() -> None:
    for edge in COMPATIBILITY:
        assert edge.main != edge.accessory
        for end in (edge.main, edge.accessory):
            assert edge.on in PRODUCT_TYPES[TYPE_INDEX[end]].attributes, edge
    assert {end for edge in COMPATIBILITY for end in (edge.main, edge.accessory)} == set(TYPE_INDEX)
    pairs = {frozenset((edge.main, edge.accessory)) for edge in COMPATIBILITY}
    assert len(pairs) == len(COMPATIBILITY), "an edge is written twice"


def test_tiers_share_everything_and_get_dearer() -> None:
    assert abs(sum(tier.share for tier in TIERS) - 1) < 1e-9
    prices = [tier.price for tier in TIERS]
    assert prices == sorted(prices)


def test_values_grow_with_the_catalogue() -> None:
    mount = ATTRIBUTES[ATTRIBUTE_INDEX["mount"]]
    assert [mount.cardinality(items) for items in (200, 2_000, 50_000)] == [1, 3, 75]
