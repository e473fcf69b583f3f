"""Rows of shop exports inherit from rows that lie far away, and only what is inherited is held."""

from __future__ import annotations

import csv
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmsc_cli.files import table_blocks
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources.exports import inherited
from mmsc_cli.prepare.sources.item_table import read_item_table

SHOPIFY = ["Handle", "Title", "Body (HTML)", "Vendor", "Variant SKU", "Variant Price", "Image Src", "Status"]
WOOCOMMERCE = ["ID", "SKU", "Name", "Description", "Published", "Images", "Regular price", "Parent"]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a block, and nothing held in memory that may lie on the disk."""
    monkeypatch.setattr(table_blocks, "ROWS_AT_A_TIME", 2)
    monkeypatch.setattr(table_blocks, "_IN_MEMORY", 1)
    monkeypatch.setattr(inherited, "_IN_MEMORY", 1)


def _read(folder: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[dict[str, Any], Delivery]:
    delivery = _delivered(folder, head, rows)
    records = [record for part in delivery.parts("records") for record in pq.read_table(part).to_pylist()]
    return {record["item_id"]: record for record in records}, delivery


def _delivered(folder: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Delivery:
    folder.mkdir(exist_ok=True)
    path = folder / "items.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    (folder / "delivery").mkdir()
    delivery = Delivery(folder / "delivery")
    read_item_table(path, {}, delivery)
    return delivery


@pytest.mark.usefixtures("small_blocks")
def test_a_variant_of_shopify_inherits_from_any_row_of_its_handle(tmp_path: Path) -> None:
    others = [[f"o{number}", "Other", "", "", f"O{number}", "1", "", "active"] for number in range(5)]
    rows = [
        ["mug", "", "", "", "M1", "12", "", ""],
        ["", "Of nobody", "", "", "N1", "3", "", ""],
        *others,
        ["mug", "Mug", "<p>Steel</p>", "Nordo", "M2", "13", "https://x.example/a.jpg", "active"],
        ["old", "", "", "", "", "9", "", ""],
        ["mug", "Mug of another name", "", "", "", "", "https://x.example/b.jpg", ""],
        ["pot", "Pot", "", "", "", "49", "", ""],
        ["old", "Old", "", "", "X1", "9", "", "archived"],
        ["", "", "", "", "N2", "3", "", ""],
        ["pot", "", "", "", "", "50", "", ""],
    ]
    items, delivery = _read(tmp_path, SHOPIFY, rows)
    first = items["M1"]
    assert (first["title"], first["description"], first["brand"]) == ("Mug", "Steel", "Nordo")
    assert first["image_url"] == "https://x.example/a.jpg"
    assert items["pot"]["title"] == "Pot", "a product without a SKU is known by its Handle"
    assert items["N2"]["title"] == "", "rows without a Handle are of no product in common"
    assert set(items) == {"M1", "M2", "N1", "N2", "pot", *(f"O{number}" for number in range(5))}
    assert (delivery.counts["records_unpublished"], delivery.counts["records_of_pictures"]) == (2, 1)
    assert delivery.counts["records"] == len(rows)
    assert delivery.counts["without_id"] == 1, "the second row of pot"


@pytest.mark.usefixtures("small_blocks")
def test_a_variation_of_woocommerce_inherits_from_a_parent_anywhere(tmp_path: Path) -> None:
    others = [[str(number), f"O{number}", "Other", "", "1", "", "1", ""] for number in range(50, 55)]
    rows = [
        ["12", "H-B", "", "", "1", "", "45", "id:11"],
        *others,
        ["13", "H-R", "Red", "", "1", "", "46", "id:11"],
        ["11", "HOOD", "Hoodie\\, warm", "Cotton", "1", "https://x.example/a.jpg", "", ""],
        ["15", "LONE", "", "", "1", "", "2", "id:99"],
        ["16", "GONE", "Gone", "", "0", "", "2", ""],
    ]
    items, delivery = _read(tmp_path, WOOCOMMERCE, rows)
    blue = items["H-B"]
    assert (blue["title"], blue["description"]) == ("Hoodie, warm", "Cotton")
    assert blue["image_url"] == "https://x.example/a.jpg"
    assert items["H-R"]["title"] == "Red"
    assert items["HOOD"]["group"] == blue["group"] == "HOOD"
    assert items["O50"]["group"] is None
    assert (items["LONE"]["title"], items["LONE"]["group"]) == ("", "id:99")
    assert delivery.counts["records_unpublished"] == 1


@pytest.mark.parametrize("head", [SHOPIFY, WOOCOMMERCE])
def test_names_of_columns_in_another_case_are_known(tmp_path: Path, head: list[str]) -> None:
    row = {"handle": "mug", "title": "Mug", "variant sku": "A", "id": "1", "sku": "A", "name": "Mug"}
    names = [name.lower() for name in head]
    items, _ = _read(tmp_path, names, [[row.get(name, "") for name in names]])
    assert items["A"]["title"] == "Mug"


LONG = "a word or two of what a product is, " * 100


def _shopify_row(number: int) -> list[str]:
    """Every fourth row is the first of its product, whose description the other three inherit."""
    product = number // 4
    first = ["Mug", f"{product} {LONG}", "Nordo"] if number % 4 == 0 else ["", "", ""]
    return [f"h{product}", *first, f"S{number}", "1.50", "", "active"]


def _woocommerce_row(number: int) -> list[str]:
    if number % 4 == 0:
        return [str(number), f"S{number}", "Mug", f"{number} {LONG}", "1", "", "1.50", ""]
    return [str(number), f"S{number}", "", "", "1", "", "1.50", f"id:{number - number % 4}"]


@pytest.mark.parametrize(("head", "row"), [(SHOPIFY, _shopify_row), (WOOCOMMERCE, _woocommerce_row)])
def test_memory_follows_a_block_and_not_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: list[str], row: Callable[[int], list[str]]
) -> None:
    """The records of 14 MB that a table of 4 MB becomes are never held together."""
    monkeypatch.setattr(table_blocks, "ROWS_AT_A_TIME", 100)
    monkeypatch.setattr(table_blocks, "_IN_MEMORY", 1)
    monkeypatch.setattr(inherited, "_IN_MEMORY", 1)
    rows = [row(number) for number in range(4_000)]
    _delivered(tmp_path / "warm", head, rows[:4])  # what is imported and built once
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        delivery = _delivered(tmp_path, head, rows)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept = sum(pq.read_metadata(part).num_rows for part in delivery.parts("records"))
    assert kept == len(rows)
    assert (most - before) >> 20 < 4
