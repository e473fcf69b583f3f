"""A disk that is full, may not be written to, or goes away: a clear line, exit 2, earlier artefacts intact."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pytest

from mmsc_cli.workspace.checksums import describe
from mmsc_cli.workspace.digests import artefact_digest
from mmsc_cli.workspace.workspace import Workspace
from tests.faults.conftest import GOLDEN
from tests.faults.small_disk import remount

if TYPE_CHECKING:
    from tests.conftest import Mmsc

COMMANDS = ["prepare demo --set source.items=200", "label --budget 30", "encode --seed 2", "train --seed 2", "evaluate"]


def _assert_intact(workspace: Workspace, before: dict[str, bytes]) -> None:
    """All that the manifest knows lies there, and nothing half-done."""
    for record in workspace.manifest().stages.values():
        for name, recorded in record.outputs.items():
            assert artefact_digest(name, describe(workspace.root, name)) == recorded, name
    assert workspace.path("manifest.json").read_bytes() == before["manifest.json"]
    assert workspace.path("items.parquet").read_bytes() == before["items.parquet"]
    staging = workspace.path(".staging")
    assert not staging.exists() or not any(staging.iterdir())


def _state(workspace: Workspace) -> dict[str, bytes]:
    return {name: workspace.path(name).read_bytes() for name in ("manifest.json", "items.parquet")}


@pytest.mark.parametrize(
    ("command", "free_kib"),
    # The labels of so few pairs would fit into more.
    [(command, free) for command in COMMANDS for free in (0, 12, 40) if (command[:5], free) != ("label", 40)],
)
def test_a_full_disk(disk: Path, command: str, free_kib: int) -> None:
    workspace = Workspace(Path(shutil.copytree(GOLDEN / "workspace", disk / "workspace")))
    before = _state(workspace)
    used = shutil.disk_usage(disk).used
    remount(disk, f"size={used // 1024 + free_kib}k")
    # In a process of its own: a mapped file that cannot be written kills it.
    words = [sys.executable, "-m", "mmsc_cli", *command.split(), "-w", str(workspace.root), "-q"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 2, ran
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 2, ran.stderr
    assert "the disk is full" in ran.stderr
    assert "free some space" in ran.stderr
    _assert_intact(workspace, before)


@pytest.mark.parametrize("command", [*COMMANDS, "run demo"])
def test_a_disk_that_may_not_be_written_to(mmsc: Mmsc, disk: Path, command: str) -> None:
    workspace = Workspace(Path(shutil.copytree(GOLDEN / "workspace", disk / "workspace")))
    before = _state(workspace)
    remount(disk, "ro")
    ran = mmsc(*command.split(), "-w", workspace.root, "-q")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[0] == f"mmsc: no permission for {workspace.root}"
    assert "-w DIR" in ran.err
    _assert_intact(workspace, before)


def test_asking_needs_to_write_nothing(mmsc: Mmsc, disk: Path) -> None:
    workspace = Workspace(Path(shutil.copytree(GOLDEN / "workspace", disk / "workspace")))
    remount(disk, "ro")
    assert mmsc("infer", "--all", "--explain", "-w", workspace.root, "-q").code == 0
    assert mmsc("doctor", "-w", workspace.root).code == 0


# What each stage calls in its midst.
MIDDLES = {
    "prepare demo --set source.items=200": ["mmsc_cli.prepare.stage.assemble", "mmsc_cli.tables.pairs.Pairs.write"],
    "label --budget 30": ["mmsc_cli.label.label.choose_candidates", "mmsc_cli.tables.labels.Labels.write"],
    "encode --seed 2": ["mmsc_cli.encode.encode.encode_texts", "mmsc_cli.encode.stage.merge"],
    "train --seed 2": [
        "mmsc_cli.train.train.train_network",
        "mmsc_cli.train.train.write_index",
        "mmsc_cli.train.train.write_model",
    ],
    "evaluate": ["mmsc_cli.evaluate.evaluate.check_split", "mmsc_cli.evaluate.stage.write_json"],
}


@pytest.mark.parametrize(
    ("command", "middle"), [(command, name) for command, names in MIDDLES.items() for name in names]
)
def test_a_folder_that_vanishes(
    mmsc: Mmsc, golden: Workspace, monkeypatch: pytest.MonkeyPatch, command: str, middle: str
) -> None:
    called = _find(middle)

    def vanish(*arguments: Any, **named: Any) -> Any:
        shutil.rmtree(golden.root, ignore_errors=True)
        return called(*arguments, **named)

    monkeypatch.setattr(middle, vanish)
    ran = mmsc(*command.split(), "-w", golden.root, "-q")
    assert (ran.code, ran.out) == (2, ""), ran
    assert 1 <= len(ran.err.splitlines()) <= 2, ran.err
    assert str(golden.root) in ran.err
    assert not golden.path("manifest.json").exists(), "no workspace is made up"


def _find(dotted: str) -> Callable[..., Any]:
    found: Callable[..., Any] = resolve_name(dotted)
    return found
