"""Addresses `gs://`, against an emulator of Google's store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

ITEMS = "item_id,title,category\n" + "".join(f"A{n},Lamp {n},Home > Lamps\n" for n in range(30))
SIGHTS = "".join(f"{n},A{item},view\n" for n in range(60) for item in (n % 15, n % 15 + 15, (n + 1) % 15))


def _put(files: Any, path: str, content: str) -> None:
    with files.open_output_stream(path) as stream:
        stream.write(content.encode())


def _tables(workspace: Path) -> list[str]:
    files = Workspace(workspace).manifest().stages["prepare"].files
    return [files[name].sha256 for name in ("items.parquet", "pairs.parquet")]


def test_objects_are_prepared_as_files_are(
    mmsc: Mmsc, gcs_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").mkdir()
    for name, content in (("products.csv", ITEMS), ("log/views-1.csv", f"session,item,type\n{SIGHTS}")):
        _put(gcs_store, f"shop/{name}", content)
        (tmp_path / name).write_text(content)

    there = mmsc("prepare", "gs://shop/products.csv", "gs://shop/log/views-*.csv", "-w", "there")
    here = mmsc("prepare", "products.csv", "log/views-1.csv", "-w", "here")

    assert (there.code, here.code) == (0, 0), there.err
    assert _tables(tmp_path / "there") == _tables(tmp_path / "here")
    assert "up to date" in mmsc("prepare", "there/recipe.toml", "-w", "there").err


def test_answers_go_into_a_bucket(mmsc: Mmsc, gcs_store: Any, hand_made: Recommender, tmp_path: Path) -> None:
    night = ["infer", "-w", tmp_path, "--all", "-k", 3, "--format", "tsv"]
    ran = mmsc(*night, "--to", "gs://shop/night/answers.tsv")
    assert ran.code == 0, ran.err
    with gcs_store.open_input_stream("shop/night/answers.tsv") as stream:
        assert stream.read().decode() == mmsc(*night).out
    assert mmsc("diff", "gs://shop/night/answers.tsv", "gs://shop/night/answers.tsv", "--json").code == 0


def test_what_is_not_there_is_one_line(mmsc: Mmsc, gcs_store: Any, tmp_path: Path) -> None:
    ran = mmsc("prepare", "gs://shop/none.csv", "-w", tmp_path / "ws")
    assert (ran.code, "gs://shop/none.csv" in ran.err, "Traceback" in ran.err) == (2, True, False)
    missing = mmsc("prepare", "gs://elsewhere/none.csv", "-w", tmp_path / "ws")
    assert (missing.code, "gs://elsewhere" in missing.err) == (2, True)
