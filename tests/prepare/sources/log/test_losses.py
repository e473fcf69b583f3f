"""What a log has lost since the night before is a warning that names it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.workspace.workspace import Workspace

Night = Callable[..., list[str]]


def _write(folder: Path, *days: int, sessions: int = 5) -> None:
    for day in days:
        rows = [f"s{day}-{number},{item},view,2026-10-{day:02}" for number in range(sessions) for item in ("A", "B")]
        (folder / f"orders-{day}.csv").write_text("\n".join(["session,item,type,time", *rows, ""]))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A folder of ten days, each of ten events."""
    folder = tmp_path / "log"
    folder.mkdir()
    _write(folder, *range(10, 20))
    return folder


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """Prepare the log again, and return the warnings of what it lost."""

    def run(**source: Any) -> list[str]:
        recipe = Recipe.model_validate({"name": "shop", "source": {"kind": "events", "events": "log", **source}})
        workspace = Workspace(tmp_path / "space")
        prepare(workspace, recipe, recipe_directory=tmp_path)
        kept: list[str] = workspace.manifest().stages["prepare"].counts["warnings"]
        return [text for text in kept if "last prepare" in text]

    return run


def test_a_file_that_is_gone_is_named_once(log: Path, night: Night) -> None:
    assert not night()
    (log / "orders-12.csv").unlink()
    _write(log, 20)
    (warning,) = night()
    assert warning.startswith("orders-12.csv, part of the log at the last prepare, is gone, and with it 10 events")
    assert not night(), "it is news for one night"


def test_files_that_were_renamed_or_packed_are_not_gone(log: Path, night: Night) -> None:
    night()
    (log / "orders-12.csv").rename(log / "old-12.csv")
    packed = log / "orders-13.csv"
    packed.with_name("orders-13.csv.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    assert not night()


def test_files_before_the_period_are_not_missed(log: Path, night: Night) -> None:
    night(since="5d")
    for day in (10, 11, 12, 13):
        (log / f"orders-{day}.csv").unlink()
    assert not night(since="5d")
    (log / "orders-18.csv").unlink()
    (warning,) = night(since="5d")
    assert warning.startswith("orders-18.csv, part of the log at the last prepare, is gone, and with it 10 events")


def test_far_fewer_events_are_a_loss_though_all_files_are_there(log: Path, night: Night) -> None:
    night()
    _write(log, 12, 13, 14, 15, sessions=3)
    assert not night(), "16 of 100 may happen"
    _write(log, *range(10, 18), sessions=1)
    (warning,) = night()
    assert warning.startswith("the log has 36 events, 57% fewer than the 84 at the last prepare")


def test_a_period_that_moves_or_is_new_loses_nothing(log: Path, night: Night) -> None:
    night()
    assert not night(since="3d")
    (log / "orders-25.csv").write_text("session,item,type,time\nx,A,view,2026-10-21\nx,B,view,2026-10-21\n")
    assert not night(since="3d"), "most of the days are out of the period now"
