from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.assemble import assemble
from mmsc_cli.prepare.records import RECORD_SCHEMA, Delivery, relation_table
from mmsc_cli.prepare.settings import SplitSettings
from mmsc_cli.tables.items import ITEM_SCHEMA, read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.truth import TRUTH_SCHEMA

Observation = tuple[int, int, float]


def _deliver(
    delivery: Delivery,
    ids: Sequence[str],
    views: Sequence[Observation],
    purchases: Sequence[Observation] = (),
) -> None:
    blank = {"title": "", "description": "", "brand": "", "category": [], "price": float("nan"), "richness": 0}
    blank |= {"image_url": None, "image_path": None, "views": [], "purchases": []}
    rows = [blank | {"record": number, "item_id": item_id} for number, item_id in enumerate(ids)]
    if rows:
        delivery.add("records", pa.Table.from_pylist(rows, schema=RECORD_SCHEMA))
    relations = [(ids[a], ids[b], strength, 0.0) for a, b, strength in views]
    relations += [(ids[a], ids[b], 0.0, strength) for a, b, strength in purchases]
    if relations:
        columns = dict(zip(("source", "target", "view", "buy"), zip(*relations, strict=True), strict=True))
        delivery.add("relations", relation_table(columns))


def test_items_are_sorted_and_directions_follow_the_new_rows(delivery: Delivery, assembled: Any) -> None:
    # Rows in: C=0, A=1, B=2. Rows out: A=0, B=1, C=2.
    _deliver(delivery, ["C", "A", "B"], views=[(0, 1, 3.0), (1, 2, 5.0)], purchases=[(1, 0, 7.0)])
    shop = assembled(delivery)
    pairs = shop.pairs
    assert shop.ids == ["A", "B", "C"]
    assert shop.items.schema.equals(ITEM_SCHEMA)
    assert list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)) == [(0, 1), (0, 2)]
    assert pairs.view_ab.tolist() == [5, 0], "A views B"
    assert pairs.view_ba.tolist() == [0, 3], "C views A"
    assert pairs.buy_ab.tolist() == [0, 7], "A buys C"
    assert pairs.buy_ba.tolist() == [0, 0]
    assert shop.truth is None


def test_a_repeated_edge_keeps_its_greatest_strength_and_is_counted(delivery: Delivery, assembled: Any) -> None:
    _deliver(delivery, ["A", "B"], views=[(0, 1, 1.0), (0, 1, 4.0), (1, 0, 9.0), (0, 1, 2.0)], purchases=[(0, 1, 1.0)])
    shop = assembled(delivery)
    assert shop.pairs.view_ab.tolist() == [4]
    assert shop.pairs.view_ba.tolist() == [9]
    assert (shop.counts["relations_kept"], shop.counts["relations_repeated"]) == (3, 2)


@given(
    ids=st.lists(st.text(min_size=1, max_size=4, alphabet="abé0"), min_size=2, max_size=12, unique=True),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_folding_agrees_with_a_plain_dictionary(ids: list[str], data: st.DataObject) -> None:
    row = st.integers(0, len(ids) - 1)
    edge = st.tuples(row, row, st.sampled_from([0.5, 1.0, 2.0])).filter(lambda found: found[0] != found[1])
    observed = {kind: data.draw(st.lists(edge, max_size=30)) for kind in ("view", "buy")}
    if not any(observed.values()):
        return
    with tempfile.TemporaryDirectory() as name:
        delivery = Delivery(Path(name))
        paths = Path(name) / "items.parquet", Path(name) / "pairs.parquet", Path(name) / "outside.parquet"
        _deliver(delivery, ids, observed["view"], observed["buy"])
        counts = assemble(delivery, *paths, SplitSettings(), seed=1).counts
        sorted_ids, pairs = read_items(paths[0])["item_id"].to_pylist(), Pairs.read(paths[1])
    assert sorted_ids == sorted(ids, key=str.encode)
    expected: dict[tuple[str, str, str], float] = {}
    for kind, edges in observed.items():
        for source, target, strength in edges:
            key = kind, ids[source], ids[target]
            expected[key] = max(strength, expected.get(key, 0))
    found = {}
    for kind in observed:
        for direction in ("ab", "ba"):
            ends = (pairs.a, pairs.b) if direction == "ab" else (pairs.b, pairs.a)
            for source, target, strength in zip(*ends, getattr(pairs, f"{kind}_{direction}"), strict=True):
                if strength > 0:
                    found[kind, sorted_ids[source], sorted_ids[target]] = float(strength)
    assert found == expected
    assert counts["relations_kept"] == len(expected)
    assert (pairs.a < pairs.b).all()
    assert (np.diff(pairs.a.astype(np.int64) * len(ids) + pairs.b) > 0).all(), "unique and in order"


def test_the_order_of_the_source_changes_nothing(tmp_path: Path, assembled: Any) -> None:
    ids = [f"item {number}" for number in range(40)]
    generator = np.random.default_rng(1)
    views = [(int(a), int(b), 1.0) for a, b in generator.integers(0, 40, (200, 2)) if a != b]
    new_row = generator.permutation(40)
    shuffled = [ids[old] for old in np.argsort(new_row)]
    moved = [(int(new_row[a]), int(new_row[b]), strength) for a, b, strength in reversed(views)]
    shops = []
    for name, order, edges in (("one", ids, views), ("two", shuffled, moved)):
        (tmp_path / name).mkdir()
        delivery = Delivery(tmp_path / name)
        _deliver(delivery, order, edges)
        shops.append(assembled(delivery))
    (items, pairs), (items_again, pairs_again) = ((shop.items, shop.pairs) for shop in shops)
    assert items.drop(["price"]).equals(items_again.drop(["price"]))
    for name in ("a", "b", "view_ab", "view_ba", "buy_ab", "buy_ba", "split"):
        np.testing.assert_array_equal(getattr(pairs, name), getattr(pairs_again, name))


def test_truth_is_renumbered_and_its_direction_turned(delivery: Delivery, assembled: Any) -> None:
    rows = [(0, 1, False, True, "a_to_b"), (0, 2, False, True, "both"), (1, 2, True, False, None)]
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, TRUTH_SCHEMA, strict=True)]
    # Rows in: C=0, A=1, B=2. Rows out: A=0, B=1, C=2.
    _deliver(delivery, ["C", "A", "B"], [(0, 1, 1.0)])
    delivery.truth = pa.table(arrays, schema=TRUTH_SCHEMA)
    truth = assembled(delivery).truth
    assert truth is not None
    assert [tuple(row.values()) for row in truth.to_pylist()] == [
        (0, 1, True, False, None),
        (0, 2, False, True, "b_to_a"),
        (1, 2, False, True, "both"),
    ]


def test_a_source_without_items_is_refused(delivery: Delivery, assembled: Any) -> None:
    with pytest.raises(InputError, match="no usable items"):
        assembled(delivery)


def test_a_source_without_pairs_is_refused(delivery: Delivery, assembled: Any) -> None:
    _deliver(delivery, ["A", "B"], [])
    with pytest.raises(InputError, match="no pair of items") as caught:
        assembled(delivery)
    assert caught.value.hint


def test_a_source_without_pairs_says_what_became_of_its_relations(delivery: Delivery, assembled: Any) -> None:
    _deliver(delivery, ["A", "B"], [(0, 0, 1.0), (0, 1, 0.0), (1, 0, -1.0)])
    with pytest.raises(InputError, match="relations of an item to itself: 1; relations without a strength: 2"):
        assembled(delivery)


def test_images_are_placed_by_the_rows_of_the_item_table(delivery: Delivery, tmp_path: Path) -> None:
    _deliver(delivery, ["C", "A", "B"], [(0, 1, 1.0)])
    paths = tmp_path / "items.parquet", tmp_path / "pairs.parquet", tmp_path / "outside.parquet"
    assemble(
        delivery, *paths, SplitSettings(), 1, place_images=lambda ids, urls, named: [f"images/{name}" for name in ids]
    )
    items = read_items(paths[0])
    assert items["image_path"].to_pylist() == ["images/A", "images/B", "images/C"]
