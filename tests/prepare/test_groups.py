"""Variants of one product: what is known of one goes for all, and none of them tells another in the hold-out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.assemble import MOST_VARIANTS
from mmsc_cli.prepare.records import Delivery, Record, record_table, relation_table
from mmsc_cli.prepare.settings import SplitSettings
from mmsc_cli.prepare.split import split_items, split_pairs
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.workspace.workspace import Workspace

MUGS = {"MUG-B": "mug", "MUG-W": "mug", "POT": None, "LID-1": "lid", "LID-2": "lid"}


def _deliver(delivery: Delivery, relations: Sequence[tuple[str, str, float, float]]) -> None:
    records = [Record(number, item_id, group=group) for number, (item_id, group) in enumerate(MUGS.items())]
    delivery.add("records", record_table(records))
    columns = dict(zip(("source", "target", "view", "buy"), zip(*relations, strict=True), strict=True))
    delivery.add("relations", relation_table(columns))


def test_what_is_known_of_a_variant_goes_for_its_siblings(delivery: Delivery, assembled: Any) -> None:
    _deliver(delivery, [("MUG-W", "POT", 2.0, 0.0), ("POT", "LID-1", 0.0, 3.0)])
    shop = assembled(delivery)
    assert shop.items["group"].to_pylist() == ["lid", "lid", "mug", "mug", None]
    assert shop.edges("view") == {("MUG-W", "POT"): 2.0, ("MUG-B", "POT"): 2.0}
    assert shop.edges("buy") == {("POT", "LID-1"): 3.0, ("POT", "LID-2"): 3.0}
    assert shop.counts["relations_kept"] == 2, "copies are no relations of the source"


def test_the_number_of_sessions_goes_for_siblings_too(delivery: Delivery, assembled: Any) -> None:
    _deliver(delivery, [("POT", "LID-1", 1.0, 0.0)])
    counted = {"source": ["MUG-W", "POT"], "target": ["POT", "MUG-W"], "view": [0.4, 0.4], "buy": [0.0, 0.0]}
    delivery.add("relations", relation_table(counted | {"views_together": [7, 7]}))
    shop = assembled(delivery)
    together = {
        (shop.ids[a], shop.ids[b]): count
        for a, b, count in zip(shop.pairs.a, shop.pairs.b, shop.pairs.together("substitute").tolist(), strict=True)
    }
    assert together == {("LID-1", "POT"): 0, ("LID-2", "POT"): 0, ("MUG-B", "POT"): 7, ("MUG-W", "POT"): 7}


def test_siblings_are_no_pair(delivery: Delivery, assembled: Any) -> None:
    _deliver(delivery, [("MUG-W", "MUG-B", 1.0, 1.0), ("MUG-W", "POT", 1.0, 0.0)])
    shop = assembled(delivery)
    assert ("MUG-W", "MUG-B") not in shop.edges("view")
    assert shop.counts["relations_within_group"] == 1


def test_a_log_of_siblings_alone_is_refused(delivery: Delivery, assembled: Any) -> None:
    _deliver(delivery, [("MUG-W", "MUG-B", 1.0, 0.0), ("MUG-W", "GONE", 1.0, 0.0), ("LID-1", "LID-2", 0.0, 1.0)])
    with pytest.raises(InputError, match=r"all relations of two items .2. are between variants of one product"):
        assembled(delivery)


@pytest.mark.parametrize(
    ("n_items", "categories", "words"),
    [
        (MOST_VARIANTS + 1, ["Mugs"], "the largest has 101 items"),
        (4, ["Mugs", "Pots"], "with several categories: 1 of 1"),
    ],
)
def test_groups_that_hold_every_pair_and_cannot_be_variants_are_passed_over(
    delivery: Delivery, assembled: Any, n_items: int, categories: list[str], words: str
) -> None:
    mugs = [
        Record(number, f"MUG-{number:03}", category=[categories[number % len(categories)]], group="kitchen")
        for number in range(n_items)
    ]
    delivery.add("records", record_table(mugs))
    delivery.add(
        "relations", relation_table({"source": ["MUG-000"], "target": ["MUG-001"], "view": [1.0], "buy": [0.0]})
    )
    shop = assembled(delivery)
    assert shop.edges("view") == {("MUG-000", "MUG-001"): 1.0}
    assert shop.items["group"].null_count == len(mugs), "answers would show one variant of a product"
    assert shop.counts["relations_within_group"] == 0
    (warning,) = delivery.warnings
    assert words in warning


def test_the_name_of_a_group_is_known_as_an_id(delivery: Delivery, assembled: Any) -> None:
    _deliver(delivery, [("mug", "POT", 1.0, 0.0)])
    assert assembled(delivery).edges("view") == {("MUG-W", "POT"): 1.0, ("MUG-B", "POT"): 1.0}


@pytest.mark.parametrize("seed", range(5))
def test_variants_are_held_out_together(seed: int) -> None:
    generator = np.random.default_rng(seed)
    units = [f"p{number}" for number in np.sort(generator.integers(0, 60, 150))]
    item_splits = split_items(units, SplitSettings(), seed)
    split_of: dict[str, set[str]] = {}
    for unit, split in zip(units, item_splits.tolist(), strict=True):
        split_of.setdefault(unit, set()).add(split)
    assert all(len(splits) == 1 for splits in split_of.values())
    a, b = np.triu_indices(150, 1)
    splits = split_pairs(units, item_splits, a.astype(np.int32), b.astype(np.int32), SplitSettings(), seed)
    pairs: dict[frozenset[str], set[str]] = {}
    for first, second, split in zip(a, b, splits.tolist(), strict=True):
        pairs.setdefault(frozenset((units[first], units[second])), set()).add(split)
    assert all(len(found) == 1 for found in pairs.values())
    assert {"train", "valid", "test"} <= set(splits.tolist())


def test_rare_variants_are_counted_as_one_product(tmp_path: Path) -> None:
    """Each variant is bought twice with the pot, too rarely by itself; together they are not."""
    baskets = [(f"o{number}", f"MUG-{number % 3}") for number in range(6)]
    rows = [f"{order},{item}" for order, mug in baskets for item in (mug, "POT")]
    rows += [f"x{number},{item}" for number in range(12) for item in ("LID", f"OTHER{number % 4}")]
    (tmp_path / "log.csv").write_text("session,item\n" + "\n".join(rows) + "\n")
    (tmp_path / "items.csv").write_text(
        "item_id,title,group\nMUG-0,m,mug\nMUG-1,m,mug\nMUG-2,m,mug\nPOT,p,\nLID,l,\n"
        + "".join(f"OTHER{number},o,\n" for number in range(4))
    )
    source = {"kind": "events", "events": "log.csv", "items": "items.csv", "min_support": 3}
    workspace = Workspace(tmp_path / "space")
    prepare(workspace, Recipe.model_validate({"name": "mine", "source": source}), recipe_directory=tmp_path)
    ids = read_items(workspace.path("items.parquet"))["item_id"].to_pylist()
    pairs = Pairs.read(workspace.path("pairs.parquet"))
    bought = {frozenset((ids[a], ids[b])) for a, b in zip(pairs.a, pairs.b, strict=True)}
    assert {frozenset((f"MUG-{number}", "POT")) for number in range(3)} <= bought
