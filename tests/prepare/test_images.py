from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from mmsc_cli.items import read_items
from mmsc_cli.prepare.run import prepare
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.workspace import Workspace


@pytest.fixture
def prepared(tmp_path: Path) -> pa.Table:
    shop = tmp_path / "shop"
    (shop / "photos").mkdir(parents=True)
    (shop / "photos" / "one.PNG").write_bytes(b"first")
    outside = tmp_path / "two.jpg"
    outside.write_bytes(b"second")
    (shop / "items.csv").write_text(
        f"item_id,image_path\n../evil,photos/one.PNG\nb,{outside}\nc,photos/none.png\nd,\n", encoding="utf-8"
    )
    (shop / "pairs.csv").write_text("a,b,co_view\nb,c,1\nc,d,1\n", encoding="utf-8")
    recipe = load_recipe("my-shop")
    workspace = Workspace(tmp_path / "workspace")
    counts = prepare(workspace, recipe, recipe_directory=shop)
    assert (counts["images"], counts["images_not_found"]) == (2, 1)
    return read_items(workspace.path("items.parquet")).append_column(
        "root", pa.array([str(workspace.root)] * 4, pa.string())
    )


def test_images_are_copied_into_the_workspace(prepared: pa.Table) -> None:
    rows = {row["item_id"]: row for row in prepared.to_pylist()}
    for item_id, content in (("../evil", b"first"), ("b", b"second")):
        path = Path(rows[item_id]["root"]) / rows[item_id]["image_path"]
        assert path.parent == Path(rows[item_id]["root"]) / "images"
        assert path.read_bytes() == content


def test_an_image_that_is_not_there_is_counted_and_the_item_goes_on(prepared: pa.Table) -> None:
    rows = {row["item_id"]: row["image_path"] for row in prepared.to_pylist()}
    assert rows["c"] is None
    assert rows["d"] is None
