from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from mmsc_cli.model.features import Attributes, category_nodes


def table(**columns: list[object]) -> pa.Table:
    return pa.table(
        {
            "category": pa.array(columns["category"], pa.list_(pa.string())),
            "brand": columns["brand"],
            "price": columns["price"],
        }
    )


ITEMS = table(
    category=[["Toys", "Games"], ["Toys", "Puzzles"], ["Books", "Games"], []],
    brand=["Acme", "Acme", "Solo", ""],
    price=[10.0, 20.0, math.nan, 5.0],
)
EMPTY = np.zeros((4, 2), np.float32)


def test_equal_names_under_other_parents_are_other_nodes() -> None:
    assert category_nodes(["Toys", "Games"]) == ["Toys", "Toys > Games"]


def test_only_shared_nodes_and_brands_get_a_number() -> None:
    attributes = Attributes.fit(ITEMS)
    assert attributes.categories == ["Toys"]
    assert attributes.brands == ["Acme"]
    features = attributes.features(ITEMS, (EMPTY, EMPTY, EMPTY[:, :0]), np.ones((4, 2), np.bool_))
    assert features.brand.tolist() == [1, 1, 0, 0]
    assert features.price[:, 1].tolist() == [1, 1, 0, 1]
    assert features.price[2, 0] == 0


def test_a_new_item_is_read_as_the_catalogue_was() -> None:
    attributes = Attributes.fit(ITEMS)
    whole = attributes.features(ITEMS, (EMPTY, EMPTY, EMPTY[:, :0]), np.ones((4, 2), np.bool_))
    alone = attributes.features(ITEMS.slice(1, 1), (EMPTY[:1], EMPTY[:1], EMPTY[:1, :0]), np.ones((1, 2), np.bool_))
    assert alone.price.tolist() == whole.price[1:2].tolist()
    assert alone.brand.tolist() == whole.brand[1:2].tolist()


def test_a_modality_left_out_is_absent() -> None:
    text = np.ones((4, 2), np.float32)
    features = Attributes.fit(ITEMS).features(ITEMS, (text, text, text), np.ones((4, 2), np.bool_), without=("text",))
    assert not features.text.any()
    assert features.present.tolist() == [[False, True]] * 4
