from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsc_cli.errors import InputError
from mmsc_cli.items import ITEM_SCHEMA
from mmsc_cli.prepare.assemble import assemble
from mmsc_cli.prepare.catalogue import CATALOGUE_SCHEMA, Catalogue, Edges
from mmsc_cli.recipe.settings import SplitSettings
from mmsc_cli.truth import TRUTH_SCHEMA

SPLIT = SplitSettings()
Observation = tuple[int, int, float]


def _items(ids: Sequence[str]) -> pa.Table:
    blank = {"title": "", "description": "", "brand": "", "category": [], "price": float("nan")}
    rows = [blank | {"item_id": item_id, "image_url": None, "image_path": None} for item_id in ids]
    return pa.Table.from_pylist(rows, schema=CATALOGUE_SCHEMA)


def _edges(observations: Sequence[Observation]) -> Edges:
    source, target, strength = zip(*observations, strict=True) if observations else ((), (), ())
    return Edges(np.asarray(source, np.int64), np.asarray(target, np.int64), np.asarray(strength, np.float32))


def _catalogue(
    ids: Sequence[str],
    views: Sequence[Observation],
    purchases: Sequence[Observation] = (),
    truth: pa.Table | None = None,
) -> Catalogue:
    return Catalogue(_items(ids), _edges(views), _edges(purchases), truth=truth)


def test_items_are_sorted_and_directions_follow_the_new_rows() -> None:
    # Rows in: C=0, A=1, B=2. Rows out: A=0, B=1, C=2.
    catalogue = _catalogue(["C", "A", "B"], views=[(0, 1, 3.0), (1, 2, 5.0)], purchases=[(1, 0, 7.0)])
    items, pairs, truth = assemble(catalogue, SPLIT, seed=1)
    assert items["item_id"].to_pylist() == ["A", "B", "C"]
    assert items.schema.equals(ITEM_SCHEMA)
    assert list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)) == [(0, 1), (0, 2)]
    assert pairs.view_ab.tolist() == [5, 0], "A views B"
    assert pairs.view_ba.tolist() == [0, 3], "C views A"
    assert pairs.buy_ab.tolist() == [0, 7], "A buys C"
    assert pairs.buy_ba.tolist() == [0, 0]
    assert truth is None


def test_a_repeated_edge_keeps_its_greatest_strength() -> None:
    _, pairs, _ = assemble(_catalogue(["A", "B"], views=[(0, 1, 1.0), (0, 1, 4.0), (0, 1, 2.0)]), SPLIT, seed=1)
    assert pairs.view_ab.tolist() == [4]


@given(
    ids=st.lists(st.text(min_size=1, max_size=4, alphabet="abé0"), min_size=2, max_size=12, unique=True),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_folding_agrees_with_a_plain_dictionary(ids: list[str], data: st.DataObject) -> None:
    row = st.integers(0, len(ids) - 1)
    edge = st.tuples(row, row, st.sampled_from([0.5, 1.0, 2.0])).filter(lambda found: found[0] != found[1])
    observed = {kind: data.draw(st.lists(edge, max_size=30)) for kind in ("view", "buy")}
    if not any(observed.values()):
        return
    items, pairs, _ = assemble(_catalogue(ids, observed["view"], observed["buy"]), SPLIT, seed=1)
    sorted_ids = items["item_id"].to_pylist()
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
    assert (pairs.a < pairs.b).all()
    assert (np.diff(pairs.a.astype(np.int64) * len(ids) + pairs.b) > 0).all(), "unique and in order"


def test_the_order_of_the_source_changes_nothing() -> None:
    ids = [f"item {number}" for number in range(40)]
    generator = np.random.default_rng(1)
    views = [(int(a), int(b), 1.0) for a, b in generator.integers(0, 40, (200, 2)) if a != b]
    items, pairs, _ = assemble(_catalogue(ids, views), SPLIT, seed=1)
    new_row = generator.permutation(40)
    shuffled = [ids[old] for old in np.argsort(new_row)]
    moved = [(int(new_row[a]), int(new_row[b]), strength) for a, b, strength in reversed(views)]
    items_again, pairs_again, _ = assemble(_catalogue(shuffled, moved), SPLIT, seed=1)
    assert items.drop(["price"]).equals(items_again.drop(["price"]))
    for name in ("a", "b", "view_ab", "view_ba", "buy_ab", "buy_ba", "split"):
        np.testing.assert_array_equal(getattr(pairs, name), getattr(pairs_again, name))


def test_truth_is_renumbered_and_its_direction_turned() -> None:
    rows = [(0, 1, False, True, "a_to_b"), (0, 2, False, True, "both"), (1, 2, True, False, None)]
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, TRUTH_SCHEMA, strict=True)]
    # Rows in: C=0, A=1, B=2. Rows out: A=0, B=1, C=2.
    catalogue = _catalogue(["C", "A", "B"], [(0, 1, 1.0)], truth=pa.table(arrays, schema=TRUTH_SCHEMA))
    _, _, truth = assemble(catalogue, SPLIT, seed=1)
    assert truth is not None
    assert [tuple(row.values()) for row in truth.to_pylist()] == [
        (0, 1, True, False, None),
        (0, 2, False, True, "b_to_a"),
        (1, 2, False, True, "both"),
    ]


def test_a_source_without_items_or_pairs_is_refused() -> None:
    with pytest.raises(InputError, match="no usable items"):
        assemble(_catalogue([], []), SPLIT, seed=1)
    with pytest.raises(InputError, match="no pair of items") as caught:
        assemble(_catalogue(["A", "B"], []), SPLIT, seed=1)
    assert caught.value.hint
