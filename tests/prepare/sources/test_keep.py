"""Columns of the source that the recipe keeps beside the item table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.index.kept_columns import NAME, KeptColumns
from mmsc_cli.index.storage import Strings
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.tables.items import ITEM_SCHEMA, read_items
from mmsc_cli.workspace.workspace import Workspace
from tests.conftest import Mmsc

ITEMS = (
    "sku,name,Colour,brand,stock,tags\nB,Hat,red,Nordo,3,\nA,Scarf,blue,Nordo,,warm\nC,Glove,NULL,,7,\nB,Hat,red,,,\n"
)
RECIPE = """
name = "shop"
[source]
kind = "table"
items = "items.csv"
pairs = "pairs.csv"
columns = { item_id = "sku", title = "name" }
keep = %s
"""


def _write(folder: Path, keep: str, items: str = ITEMS) -> Path:
    (folder / "items.csv").write_text(items)
    (folder / "pairs.csv").write_text("a,b,co_view\nA,B,1\nB,C,1\n")
    (folder / "shop.toml").write_text(RECIPE % keep)
    return folder / "shop.toml"


def _prepare(folder: Path, keep: str, items: str = ITEMS) -> Workspace:
    workspace = Workspace(folder / "workspace")
    prepare(workspace, load_recipe(str(_write(folder, keep, items))), recipe_directory=folder)
    return workspace


def _kept(workspace: Workspace) -> dict[str, list[Any]]:
    ids = read_items(workspace.path("items.parquet"))["item_id"].to_pylist()
    kept = KeptColumns(workspace.root / NAME, Strings.of(ids))
    return {name: [kept.column(name).of(row) for row in range(len(ids))] for name in kept.names}


def test_a_cell_that_is_no_number_is_a_warning(tmp_path: Path) -> None:
    items = "sku,name,stock\n" + "".join(f"{sku},Hat,{'many' if sku == 'F' else 3}\n" for sku in "ABCDEF")
    warnings = _prepare(tmp_path, '["stock"]', items).manifest().stages["prepare"].counts["warnings"]

    assert any("kept column stock" in warning and "'many'" in warning for warning in warnings)


def test_columns_are_kept_in_the_order_of_item_rows(tmp_path: Path) -> None:
    workspace = _prepare(tmp_path, '["colour", "stock", "brand"]')

    assert _kept(workspace) == {
        "brand": ["Nordo", "Nordo", None],
        "colour": ["blue", "red", None],
        "stock": [None, 3.0, 7.0],
    }
    assert read_items(workspace.path("items.parquet")).schema.names == ITEM_SCHEMA.names


def test_another_column_or_value_changes_no_table_that_training_reads(tmp_path: Path) -> None:
    first = _prepare(tmp_path, '["colour"]').manifest().stages["prepare"].outputs
    second = (
        _prepare(tmp_path, '["colour", "stock"]', ITEMS.replace("red", "pink")).manifest().stages["prepare"].outputs
    )

    assert {name for name in first if first[name] != second[name]} == {NAME}
    assert NAME not in _prepare(tmp_path, "[]").manifest().stages["prepare"].outputs


def test_a_column_that_the_source_lacks_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'color' \(did you mean Colour\?\) to keep"):
        _prepare(tmp_path, '["color"]')


def test_keep_names_each_column_once_and_needs_items(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="named twice"):
        load_recipe(str(_write(tmp_path, '["a", "a"]')))
    (tmp_path / "log.toml").write_text('name = "x"\n[source]\nkind = "events"\nevents = "log.csv"\nkeep = ["a"]\n')
    with pytest.raises(InputError, match="names no items"):
        load_recipe(str(tmp_path / "log.toml"))


def test_variants_of_an_export_inherit_kept_columns(tmp_path: Path) -> None:
    export = (
        "Handle,Title,Variant SKU,Variant Price,Image Src,Vendor,Fabric\n"
        "hat,Hat,A,1,,V,wool\nhat,,B,2,,,\nscarf,Scarf,C,3,,V,silk\n"
    )
    recipe = _write(tmp_path, '["fabric"]', export)
    recipe.write_text(recipe.read_text().replace('columns = { item_id = "sku", title = "name" }\n', ""))
    workspace = Workspace(tmp_path / "workspace")
    (tmp_path / "pairs.csv").write_text("a,b,co_view\nA,C,1\nB,C,1\n")
    prepare(workspace, load_recipe(str(recipe)), recipe_directory=tmp_path)

    assert _kept(workspace) == {"fabric": ["wool", "wool", "silk"]}


def test_show_lists_kept_columns(tmp_path: Path, mmsc: Mmsc) -> None:
    workspace = _prepare(tmp_path, '["stock"]')
    assert '"stock": 3' in mmsc("show", "-w", workspace.root, "B", "--json").out
