from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.places.copies import Copies
from mmsc_cli.prepare import stage
from mmsc_cli.prepare.inputs import local_files, prepare_config
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.workspace.workspace import Workspace


def _recipe(**source: Any) -> Recipe:
    return Recipe.model_validate({"name": "mine", "source": source})


TABLES = _recipe(kind="table", items="items.csv", pairs="pairs.csv")
DEMO = _recipe(kind="demo", items=200, images=False)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a catalogue of 30 items, each viewed and bought with the next one."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"{item:03},item {item}\n" for item in range(30)))
    rows = "".join(f"{item:03},{item + 1:03},1,{item % 2}\n" for item in range(29))
    (folder / "pairs.csv").write_text("a,b,co_view,co_purchase\n" + rows)
    return folder


def test_the_stage_writes_its_tables_and_its_counts_add_up(tmp_path: Path, shop: Path) -> None:
    workspace = Workspace(tmp_path / "space")
    counts = prepare(workspace, TABLES, recipe_directory=shop)
    items, pairs = read_items(workspace.path("items.parquet")), Pairs.read(workspace.path("pairs.parquet"))
    assert counts["items"] == len(items) == 30
    assert counts["pairs"] == len(pairs) == 29
    assert (counts["co_view_pairs"], counts["co_purchase_pairs"], counts["pairs_in_both"]) == (29, 14, 14)
    assert sum(counts["item_splits"].values()) == 30
    assert sum(counts["pair_splits"].values()) == 29
    assert counts["records"] == 30, "what the source read is told too"
    record = workspace.manifest().stages["prepare"]
    assert record.counts == counts
    assert Recipe.model_validate(record.config["recipe"]) == TABLES
    assert not workspace.path("truth.parquet").exists()


def test_local_inputs_replace_what_the_recipe_names(tmp_path: Path, shop: Path) -> None:
    inputs = [shop / "items.csv", shop / "pairs.csv"]
    counts = prepare(Workspace(tmp_path / "space"), TABLES, inputs=inputs, recipe_directory=tmp_path)
    assert counts["items"] == 30
    with pytest.raises(InputError, match="takes two inputs"):
        prepare(Workspace(tmp_path / "space"), TABLES, inputs=inputs[:1])


def test_new_content_in_an_input_is_noticed(tmp_path: Path, shop: Path) -> None:
    workspace = Workspace(tmp_path / "space")
    prepare(workspace, TABLES, recipe_directory=shop)
    assert workspace.is_current("prepare", prepare_config(TABLES, local_files(TABLES, [], shop, Copies(tmp_path))))
    with (shop / "items.csv").open("a") as file:
        file.write("999,new\n")
    assert not workspace.is_current("prepare", prepare_config(TABLES, local_files(TABLES, [], shop, Copies(tmp_path))))
    (shop / "items.csv").unlink()
    assert not workspace.is_current("prepare", prepare_config(TABLES, local_files(TABLES, [], shop, Copies(tmp_path))))
    with pytest.raises(InputError, match=r"no file at .*items\.csv"):
        prepare(workspace, TABLES, recipe_directory=shop)
    assert len(read_items(workspace.path("items.parquet"))) == 30, "what was there stays"


def test_amazon_metadata_is_taken_from_a_local_file(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    records = [{"asin": f"A{item}", "also_view": [f"A{item + 1}"]} for item in range(20)]
    path.write_text("\n".join(map(json.dumps, records)))
    counts = prepare(Workspace(tmp_path / "space"), _recipe(kind="amazon"), inputs=[path])
    assert (counts["items"], counts["pairs"], counts["relations_outside"]) == (20, 19, 1)


def test_without_address_or_file_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no source\.url") as caught:
        prepare(Workspace(tmp_path / "space"), _recipe(kind="amazon"))
    assert "--input" in str(caught.value.hint)


def test_a_download_is_kept_apart_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[Path, str] = {}

    def fake(url: str, target: Path, *_: Any, **__: Any) -> str:
        target.parent.mkdir(parents=True, exist_ok=True)
        asked[target] = url
        target.write_text(json.dumps({"asin": "A", "also_view": ["B"]}) + "\n" + json.dumps({"asin": "B"}))
        return ""

    monkeypatch.setattr(stage, "download", fake)
    workspace = Workspace(tmp_path / "space")
    for address in ("https://x.example/2014/meta.json.gz", "https://x.example/2018/meta.json.gz?v=1"):
        assert prepare(workspace, _recipe(kind="amazon", url=address))["pairs"] == 1
    assert [path.name for path in asked] == ["meta.json.gz"] * 2
    assert all(path.is_relative_to(workspace.path("downloads")) for path in asked)
    assert list(asked.values())[1].endswith("2018/meta.json.gz?v=1")


def test_the_demo_has_a_truth_and_takes_no_input(tmp_path: Path, shop: Path) -> None:
    workspace = Workspace(tmp_path / "space")
    prepare(workspace, DEMO)
    assert "truth.parquet" in workspace.manifest().stages["prepare"].outputs
    with pytest.raises(InputError, match="no input files"):
        prepare(workspace, DEMO, inputs=[shop / "items.csv"])


def test_the_same_recipe_makes_the_same_bytes(tmp_path: Path) -> None:
    outputs = []
    for name in ("one", "two"):
        workspace = Workspace(tmp_path / name)
        prepare(workspace, DEMO)
        outputs.append(workspace.manifest().stages["prepare"].outputs)
    assert outputs[0] == outputs[1]


def test_killed_in_the_middle_of_a_download_the_same_command_goes_on(tmp_path: Path, server: Any) -> None:
    lines = "".join(json.dumps({"asin": f"A{item}", "also_view": [f"A{item + 1}"]}) + "\n" for item in range(20_000))
    content = gzip.compress(lines.encode(), mtime=0)
    asked: list[str | None] = []
    half_sent = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["Range"])
        start = int((asked[-1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - start))
        handler.send_header("ETag", '"one"')
        handler.end_headers()
        handler.wfile.write(content[start : start + len(content) // 2] if not start else content[start:])
        if not start:
            handler.wfile.flush()
            half_sent.set()
            time.sleep(60)

    recipe = tmp_path / "meta.toml"
    url = server.serve("/meta.json.gz", answer)
    recipe.write_text(f'name = "meta"\n[source]\nkind = "amazon"\nurl = "{url}"\n')
    command = [sys.executable, "-m", "mmsc_cli", "prepare", str(recipe), "-w", str(tmp_path / "w"), "--json", "-q"]
    with subprocess.Popen(command) as first:
        assert half_sent.wait(60)
        parts = tmp_path / "w" / "downloads"
        while not any(part.stat().st_size for part in parts.rglob("*.part")):
            time.sleep(0.02)
        first.kill()
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = json.loads(ran.stdout)["counts"]
    assert counts["items"] == 20_000
    assert counts["download"] == {"url": url, "bytes": len(content), "sha256": sha256(content).hexdigest()}
    assert asked[0] is None
    assert asked[1] not in (None, "bytes=0-"), "the second run asked for the rest"
