"""File systems that lack something, streams that are full, names in another encoding: the work is done all the same."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmsc_cli.runtime import weak_disk
from mmsc_cli.workspace.lock import locked
from mmsc_cli.workspace.workspace import Workspace


def _refuse(number: int) -> Any:
    def call(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return call


def _prepare(root: Path, content: str) -> None:
    with Workspace(root).stage("prepare", {}) as run:
        run.path("items.parquet").write_text(content)
        run.path("items.parquet").chmod(0o600)
        (run.directory("images") / "one").write_text(content)


@pytest.mark.parametrize(
    ("lacking", "number", "said"),
    [
        ("flock", errno.ENOLCK, "no locks"),
        ("fsync", errno.EINVAL, "sync folders"),
        ("chmod", errno.EPERM, "permissions"),
    ],
)
def test_less_protection_is_said_once_and_stops_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lacking: str,
    number: int,
    said: str,
) -> None:
    monkeypatch.setattr(weak_disk, "_said", set())
    sync = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    change = Path.chmod

    def of_the_stage_only(path: Path, mode: int) -> None:
        if mode != 0o600:
            raise OSError(number, os.strerror(number))
        change(path, mode)

    if lacking == "chmod":
        monkeypatch.setattr(Path, "chmod", of_the_stage_only)
    if lacking == "flock":
        monkeypatch.setattr(fcntl, "flock", _refuse(number))
    if lacking == "fsync":
        monkeypatch.setattr(os, "fsync", files_only)
    for content in "12":
        _prepare(tmp_path / "space", content)

    assert (tmp_path / "space/items.parquet").read_text() == "2"
    assert Workspace(tmp_path / "space").is_current("prepare", {})
    assert [said in record.getMessage() for record in caplog.records] == [True]


def test_another_error_of_the_disk_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"), locked(tmp_path):
        pass


def _run(*words: str | bytes, stderr: Any = subprocess.PIPE, folder: bytes | None = None) -> int:
    command = [sys.executable, "-m", "mmsc_cli", *words]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=stderr, cwd=folder, env=environment, check=False)
    return ran.returncode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_stderr_changes_no_exit_code(golden: Workspace) -> None:
    with Path("/dev/full").open("w") as full:
        assert _run("label", "--model", "rules", "--set", "label.budget=30", "-w", str(golden.root), stderr=full) == 0
        assert _run("infer", "--item", "NOPE", "-w", str(golden.root), stderr=full) == 3
        assert _run("infer", "--item", "G000", "--nonsense", "-w", str(golden.root), stderr=full) == 2


def test_folders_whose_names_are_not_utf_8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102  Path takes no bytes
    shop = Path(os.fsdecode(folder))
    (shop / "items.csv").write_text("item_id,title\nA,lamp\nB,shade\nC,bulb\n")
    (shop / "pairs.csv").write_text("a,b,co_view\nA,B,1\nB,C,1\n")
    (shop / "shop.toml").write_text('name="x"\n[source]\nkind="table"\nitems="items.csv"\npairs="pairs.csv"\n')

    assert _run("prepare", "shop.toml", "-w", "ws", folder=folder) == 0
    assert _run("prepare", folder + b"/shop.toml", "-w", folder + b"/ws") == 0
    assert _run("doctor", "-w", folder + b"/ws") == 0
    assert Workspace(shop / "ws").manifest().stages["prepare"].config["inputs"]
