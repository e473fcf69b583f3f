from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmsc_cli.errors import InputError
from mmsc_cli.places.copies import Copies
from mmsc_cli.prepare import image_placement
from mmsc_cli.prepare.counts import balance
from mmsc_cli.prepare.inputs import changed_pictures, local_files
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.tables.items import read_items
from mmsc_cli.workspace.workspace import Workspace

URL = "https://images.example/d.png"


def _png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


FIRST, SECOND, THIRD, OF_A, OF_D = map(_png, ("red", "green", "blue", "white", "black"))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A catalogue whose items name a file, an absolute path, a file that is not there, an address, and nothing."""
    folder = tmp_path / "shop"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "one.PNG").write_bytes(FIRST)
    absolute = folder / "two.jpg"
    absolute.write_bytes(SECOND)
    (folder / "items.csv").write_text(
        f"item_id,image_path,image_url\n../evil,photos/one.PNG,\nb,{absolute},{URL}\nc,photos/none.png,\n"
        f"d,,{URL}\ne,,https://images.example/e.png\nf,,\n",
        encoding="utf-8",
    )
    (folder / "pairs.csv").write_text("a,b,co_view\nb,c,1\nc,d,1\n", encoding="utf-8")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Where the tables go."""
    return Workspace(tmp_path / "workspace")


def _paths(workspace: Workspace) -> dict[str, str | None]:
    items = read_items(workspace.path("items.parquet"))
    return dict(zip(items["item_id"].to_pylist(), items["image_path"].to_pylist(), strict=True))


def _failures(workspace: Workspace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in workspace.path("images/failures.jsonl").read_text().splitlines()]


def test_local_images_are_copied_into_the_workspace(shop: Path, workspace: Workspace) -> None:
    counts = prepare(workspace, load_recipe("my-shop"), recipe_directory=shop)
    assert (counts["images"], counts["images_not_found"]) == (2, 1)
    for item_id, content in (("../evil", FIRST), ("b", SECOND)):
        path = workspace.root / str(_paths(workspace)[item_id])
        assert path.parent == workspace.root / "images"
        assert path.read_bytes() == content


def test_an_image_that_is_not_there_is_noted_and_the_item_goes_on(shop: Path, workspace: Workspace) -> None:
    prepare(workspace, load_recipe("my-shop"), recipe_directory=shop)
    assert _failures(workspace) == [{"item_id": "c", "image": "photos/none.png", "reason": "there is no such file"}]
    paths = _paths(workspace)
    assert [paths[item_id] for item_id in "cdef"] == [None] * 4, "addresses are not fetched unless asked for"


def test_where_nothing_failed_there_is_no_list_of_failures(shop: Path, workspace: Workspace) -> None:
    (shop / "photos" / "none.png").write_bytes(THIRD)
    prepare(workspace, load_recipe("my-shop"), recipe_directory=shop)
    assert not workspace.path("images/failures.jsonl").exists()


def test_addresses_are_fetched_if_asked_for_and_kept_from_run_to_run(
    shop: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fake(urls: list[str], cache: Path, *_: Any) -> tuple[dict[str, Path], dict[str, str]]:
        asked.append(sorted(set(urls)))
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "d.png").write_bytes(OF_D)
        return {URL: cache / "d.png"}, {"https://images.example/e.png": "the server answers 404"}

    monkeypatch.setattr(image_placement, "download_images", fake)
    recipe = load_recipe("my-shop", values={"images.download": True})
    counts = balance(prepare(workspace, recipe, recipe_directory=shop))
    assert asked == [[URL, "https://images.example/e.png"]], "a local file comes before an address"
    assert (counts["images"], counts["images_not_found"], counts["images_failed"]) == (3, 1, 1)
    assert (workspace.root / str(_paths(workspace)["d"])).read_bytes().startswith(b"\x89PNG")
    assert {"item_id": "e", "image": "https://images.example/e.png", "reason": "the server answers 404"} in _failures(
        workspace
    )
    assert workspace.path("downloads/images/d.png").exists()


def test_a_folder_of_images_named_by_id_serves_what_names_no_path(shop: Path, workspace: Workspace) -> None:
    (shop / "folder").mkdir()
    for name, content in (("b.jpg", b"not taken"), ("d.JPG", OF_D), ("f.txt", b"no image"), ("z.png", b"of nobody")):
        (shop / "folder" / name).write_bytes(content)
    recipe = load_recipe("my-shop", values={"images.folder": "folder"})
    counts = prepare(workspace, recipe, recipe_directory=shop)
    assert (counts["images"], counts["images_not_found"]) == (3, 1)
    paths = _paths(workspace)
    assert (workspace.root / str(paths["d"])).read_bytes() == OF_D
    assert (workspace.root / str(paths["b"])).read_bytes() == SECOND, "a path in the table comes first"
    assert paths["f"] is None


def test_a_folder_of_images_serves_every_source(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "A.png").write_bytes(OF_A)
    (tmp_path / "meta.json").write_text('{"asin": "A", "also_buy": ["B"]}\n{"asin": "B"}\n')
    recipe = load_recipe("amazon-toys", values={"images.folder": str(tmp_path / "photos")})
    assert prepare(workspace, recipe, inputs=[tmp_path / "meta.json"])["images"] == 1
    gone = load_recipe("amazon-toys", values={"images.folder": str(tmp_path / "gone")})
    with pytest.raises(InputError, match=r"no folder at .*gone"):
        prepare(workspace, gone, inputs=[tmp_path / "meta.json"])


def test_asking_a_source_without_addresses_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names no addresses of images"):
        prepare(Workspace(tmp_path / "w"), load_recipe("demo", ["source.items=200"], {"images.download": True}))


def test_what_is_no_image_is_not_brought_in_whatever_it_is_called(shop: Path, workspace: Workspace) -> None:
    key = b"-----BEGIN OPENSSH PRIVATE KEY-----\n"
    (shop / "id_ed25519").write_bytes(key)
    (shop / "photos" / "one.PNG").write_bytes(key)
    items = shop / "items.csv"
    items.write_text(items.read_text().replace("photos/none.png", "id_ed25519"))
    counts = prepare(workspace, load_recipe("my-shop"), recipe_directory=shop)

    assert (counts["images"], counts["images_not_found"]) == (1, 2)
    assert {failure["reason"][:12] for failure in _failures(workspace)} == {"not an image"}
    assert not any(key in path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())


def test_a_local_image_that_changes_comes_or_goes_is_noticed(shop: Path, workspace: Workspace) -> None:
    recipe = load_recipe("my-shop")

    def changed() -> str | None:
        return changed_pictures(workspace, recipe, local_files(recipe, [], shop, Copies(shop)), shop)

    prepare(workspace, recipe, recipe_directory=shop)
    assert changed() is None
    (shop / "photos" / "one.PNG").write_bytes(OF_A + b"x")
    assert changed() == "local images that changed, came or went: 1, such as photos/one.PNG"
    prepare(workspace, recipe, recipe_directory=shop)
    (shop / "photos" / "none.png").write_bytes(THIRD)
    assert "photos/none.png" in (changed() or "")
    prepare(workspace, recipe, recipe_directory=shop)
    assert changed() is None
    moved = shop.rename(shop.with_name("moved"))
    assert changed_pictures(workspace, recipe, local_files(recipe, [], moved, Copies(moved)), moved) in (
        None,
        "1 local images changed, came or went, such as two.jpg",
    )


def test_a_new_image_in_a_folder_of_images_is_noticed(shop: Path, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "by_id").mkdir()
    recipe = load_recipe("my-shop", [f"images.folder={tmp_path / 'by_id'}"])
    prepare(workspace, recipe, recipe_directory=shop)
    assert changed_pictures(workspace, recipe, local_files(recipe, [], shop, Copies(tmp_path)), shop) is None
    (tmp_path / "by_id" / "f.png").write_bytes(THIRD)
    assert changed_pictures(workspace, recipe, local_files(recipe, [], shop, Copies(tmp_path)), shop) is not None
