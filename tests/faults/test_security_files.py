"""Files and archives of unknown origin: none leads out of where it belongs, none becomes larger than it may."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmsc_cli.errors import InputError
from mmsc_cli.files import unpacking
from mmsc_cli.files.images import UnusableImageError
from mmsc_cli.files.line_blocks import BLOCK_BYTES, LineBlocks
from mmsc_cli.files.table_file import read_table_file
from mmsc_cli.files.web.download import file_name
from mmsc_cli.infer.new_item import NewItem
from mmsc_cli.infer.new_items import read_images
from mmsc_cli.prepare.settings import ImageSettings
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.recipe.shipped import recipe_path
from mmsc_cli.tables.items import read_items
from mmsc_cli.workspace.workspace import Workspace

SECRET = b"not for the shop"


def _png(comment: bytes) -> bytes:
    """An image that carries a text."""
    chunks, content = PngInfo(), io.BytesIO()
    chunks.add_text("Comment", comment)
    Image.new("RGB", (8, 8)).save(content, "PNG", pnginfo=chunks)
    return content.getvalue()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A catalogue that a stranger sent: some of its image paths lead to a secret beside it."""
    (tmp_path / "secret.png").write_bytes(_png(SECRET))
    folder = tmp_path / "shop"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "own.png").write_bytes(_png(b"own"))
    (folder / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "photos" / "linked").symlink_to(tmp_path)
    paths = {
        "own": "photos/own.png",
        "absolute": str(folder / "photos" / "own.png"),
        "up": "../secret.png",
        "round": "photos/../../secret.png",
        "far": str(tmp_path / "secret.png"),
        "link": "photos/link.png",
        "linked": "photos/linked/secret.png",
        "nul": "photos/own.png\0.txt",
        "long": "x" * 5_000,
    }
    rows = ({"item_id": name, "image_path": path} for name, path in paths.items())
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "pairs.csv").write_text("a,b,co_view\nown,up,1\n", encoding="utf-8")
    return folder


def _prepare(shop: Path, root: Path, *overrides: str) -> tuple[dict[str, str | None], list[dict[str, str]]]:
    """Where the image of each item lies, and what `failures.jsonl` says."""
    workspace = Workspace(root)
    prepare(workspace, load_recipe("my-shop", ["source.items=items.jsonl", *overrides]), recipe_directory=shop)
    items = read_items(workspace.path("items.parquet"))
    placed = dict(zip(items["item_id"].to_pylist(), items["image_path"].to_pylist(), strict=True))
    lines = workspace.path("images/failures.jsonl").read_text(encoding="utf-8").splitlines()
    return placed, [json.loads(line) for line in lines]


def test_no_image_path_brings_a_file_from_elsewhere_into_the_workspace(shop: Path, tmp_path: Path) -> None:
    placed, failures = _prepare(shop, tmp_path / "workspace")

    assert {name for name, path in placed.items() if path} == {"own", "absolute"}
    reasons = {failure["item_id"]: failure["reason"] for failure in failures}
    for name in ("up", "round", "far", "link", "linked"):
        assert "images.allow_outside" in reasons[name]
    assert set(reasons) == {"up", "round", "far", "link", "linked", "nul", "long"}
    content = [path.read_bytes() for path in (tmp_path / "workspace").rglob("*") if path.is_file()]
    assert not any(SECRET in one for one in content)


def test_who_trusts_a_catalogue_may_say_so(shop: Path, tmp_path: Path) -> None:
    placed, failures = _prepare(shop, tmp_path / "workspace", "images.allow_outside=true")

    assert {failure["item_id"] for failure in failures} == {"nul", "long"}
    assert (tmp_path / "workspace" / str(placed["up"])).read_bytes() == _png(SECRET)


def test_a_new_items_image_path_tells_nothing_of_a_file_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (image,) = read_images([NewItem(image_path=str(tmp_path / "secret.txt"))], ImageSettings())

    assert isinstance(image, UnusableImageError)
    assert SECRET.decode() not in str(image)


@pytest.mark.parametrize("name", ["../recipes/demo", "demo/../demo", "/recipes/demo", "..", ".", "", "demo\0"])
def test_the_name_of_a_recipe_leads_to_no_file_but_a_shipped_recipe(name: str) -> None:
    """What has a slash is a path, and then it must be that of a file, as the user typed it."""
    with pytest.raises(InputError, match="no recipe"):
        recipe_path(name)


@pytest.mark.parametrize("link", ["absolute", "up"])
def test_a_file_that_is_no_recipe_is_not_repeated(tmp_path: Path, link: str) -> None:
    (tmp_path / "secret.txt").write_bytes(SECRET)
    named = tmp_path / "secret.txt" if link == "absolute" else tmp_path / "here" / ".." / "secret.txt"
    (tmp_path / "here").mkdir()
    with pytest.raises(InputError) as caught:
        load_recipe(str(named))
    assert SECRET.decode() not in f"{caught.value.message} {caught.value.hint}"


def test_what_a_recipe_calls_itself_names_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "here"
    folder.mkdir(parents=True)
    (folder / "evil.toml").write_text(
        'name = "../../outside"\n[source]\nkind = "demo"\nitems = 200\nimages = false\n', encoding="utf-8"
    )
    prepare(Workspace(folder / "workspace"), load_recipe(str(folder / "evil.toml")))

    assert sorted(path.name for path in folder.iterdir()) == ["evil.toml", "workspace"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.example/a/meta.json.gz?part=1", "meta.json.gz"),
        ("https://x.example/a/..", "download"),
        ("https://x.example/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "passwd"),
        ("https://x.example/a%00b", "download"),
        ("https://x.example", "download"),
    ],
)
def test_a_download_stays_in_its_folder(url: str, name: str) -> None:
    assert file_name(url) == name


def test_what_is_no_address_is_not_downloaded() -> None:
    with pytest.raises(InputError, match="no web address"):
        file_name("https://x.example:port/meta.json.gz")


@pytest.fixture
def easily_harmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that a mebibyte harms, so that bombs can be small."""
    monkeypatch.setattr(unpacking, "HARMLESS_BYTES", 1 << 20)


BOMB = gzip.compress(b'{"asin": "A"}\n' * 2_000_000, mtime=0)


def test_an_archive_bomb_of_metadata_is_refused(tmp_path: Path, easily_harmed: None) -> None:
    (tmp_path / "meta.json.gz").write_bytes(BOMB)
    with pytest.raises(InputError, match="archive bombs") as caught:
        list(LineBlocks(tmp_path / "meta.json.gz"))
    assert "unpack it yourself" in (caught.value.hint or "")


def test_what_packs_well_but_is_small_is_no_bomb(tmp_path: Path) -> None:
    (tmp_path / "meta.json.gz").write_bytes(BOMB)
    sizes = [len(block.content) for block in LineBlocks(tmp_path / "meta.json.gz")]

    assert sum(sizes) == 28_000_000
    assert max(sizes) <= BLOCK_BYTES + (1 << 22), "memory follows the block, not the file"


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_an_archive_bomb_of_a_table_is_refused(tmp_path: Path, easily_harmed: None, form: str) -> None:
    path = tmp_path / f"items.{form}.gz"
    path.write_bytes(BOMB)
    with pytest.raises(InputError, match="archive bombs"):
        read_table_file(path)


def test_a_bomb_of_run_lengths_is_refused_before_it_is_read(tmp_path: Path, easily_harmed: None) -> None:
    table = pa.table({"item_id": pa.array(np.zeros(5_000_000, np.int8))})
    pq.write_table(table, tmp_path / "items.parquet")
    with pytest.raises(InputError, match="archive bombs"):
        read_table_file(tmp_path / "items.parquet")
