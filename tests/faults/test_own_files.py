"""Files of the user's own: a folder is never taken for a workspace, and nothing is deleted that mmsc did not write."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.faults.commit import die_before_call
from mmsc_cli.workspace.manifest import Manifest
from mmsc_cli.workspace.stages import STAGES, Stage
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

FORK = multiprocessing.get_context("fork")
OURS = ("images", "model", "index", "training", "embeddings", "answers", "encoding")


def _contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _run(workspace: Workspace, stage: Stage, content: str = "1") -> None:
    with workspace.stage(stage, {}) as run:
        for name in STAGES[stage].makes:
            if "." in name:
                run.path(name).write_text(content)
            else:
                (run.directory(name) / "file").write_text(content)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop's own folder, with folders that are called as ours are."""
    root = tmp_path / "shop"
    for name in OURS:
        (root / name).mkdir(parents=True)
        (root / name / "own").write_text("of the user")
    (root / "items.csv").write_text("item_id,title\nA,lamp\nB,shade\nC,bulb\n")
    (root / "pairs.csv").write_text("a,b,co_view\nA,B,1\nB,C,1\n")
    (root / "shop.toml").write_text(
        'name = "shop"\n[source]\nkind = "table"\nitems = "items.csv"\npairs = "pairs.csv"\n'
    )
    return root


@pytest.mark.parametrize("command", ["prepare shop.toml", "run shop.toml", "label", "encode", "train", "evaluate"])
def test_a_folder_that_is_no_workspace_is_refused_and_left_as_it_was(
    mmsc: Mmsc, shop: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(shop)
    before = _contents(shop)
    ran = mmsc(*command.split(), "-w", ".", "-q")

    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 2, ran.err
    assert _contents(shop) == before
    if "shop.toml" in command:
        assert "is no workspace" in ran.err
        assert f"`mmsc {command} -q -w workspace`" in ran.err, "what was typed, with a sub-folder"


@pytest.mark.parametrize("command", ["prepare shop.toml", "run shop.toml", "train", "infer A", "doctor"])
def test_a_workspace_that_is_no_folder_is_said_and_left_as_it_was(
    mmsc: Mmsc, shop: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(shop)
    (shop / "dangling").symlink_to("nowhere")
    for name, what in (("shop.toml", "is no folder"), ("dangling", "a link that leads nowhere")):
        ran = mmsc(*command.split(), "-w", name)
        if command == "doctor":
            assert what in ran.out
            continue
        assert ran.code == 2
        assert what in ran.err
        if "shop.toml" in command:
            assert f"-w {name}-workspace`" in ran.err
    assert not (shop / "nowhere").exists()


def test_a_folder_with_nothing_but_names_of_ours_is_refused_too(mmsc: Mmsc, shop: Path, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    for name in OURS:
        shutil.copytree(shop / name, root / name)
    before = _contents(root)

    assert mmsc("prepare", shop / "shop.toml", "-w", root, "-q").code == 2
    assert _contents(root) == before


def test_an_empty_folder_is_a_workspace_to_be(mmsc: Mmsc, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert mmsc("prepare", shop / "shop.toml", "-w", tmp_path / "new", "-q").code == 0
    assert mmsc("prepare", shop / "shop.toml", "-w", tmp_path / "new", "-q").code == 0


@pytest.mark.parametrize(("stage", "artefact"), [("prepare", "images"), ("train", "index"), ("encode", "embeddings")])
def test_what_the_user_put_into_an_artefact_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stage: Stage, artefact: str
) -> None:
    workspace = Workspace(tmp_path / "space")
    stages: list[Stage] = ["prepare", "encode", "train"]
    for before in stages:
        _run(workspace, before)
    (workspace.path(artefact) / "own").write_text("of the user")
    workspace.inputs_of = lambda stage: {}  # type: ignore[method-assign]
    _run(workspace, stage, "2")

    (kept,) = workspace.path("replaced").glob(f"*/{artefact}/own")
    assert kept.read_text() == "of the user"
    assert str(kept.parent) in caplog.text
    assert (workspace.path(artefact) / "file").read_text() == "2"


def test_after_the_manifest_was_deleted_what_is_there_is_kept(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "space")
    _run(workspace, "prepare")
    workspace.path("manifest.json").unlink()
    _run(workspace, "prepare", "2")

    kept = {path.name for path in workspace.path("replaced").glob("*/*")}
    assert kept == set(STAGES["prepare"].makes)
    assert workspace.path("items.parquet").read_text() == "2"


def test_what_cannot_be_removed_from_staging_blocks_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "space")
    _run(workspace, "prepare")
    (workspace.path(".staging") / "prepare").write_text("rmtree removes no file")
    _run(workspace, "prepare", "2")

    assert workspace.path("items.parquet").read_text() == "2"


def _in_child(work: Callable[[], None]) -> int | None:
    child = FORK.Process(target=work)
    child.start()
    child.join(60)
    return child.exitcode


def _moments(root: Path, stage: Stage) -> Iterator[None]:
    """Kill a stage before its 1st, 2nd, ... rename, until one run survives."""
    for moment in range(1, 100):

        def die(moment: int = moment) -> None:
            die_before_call(moment, ["rename", "replace"])
            _run(Workspace(root), stage, f"killed {moment}")

        if _in_child(die) == 0:
            return
        yield


@pytest.mark.parametrize("first", [True, False])
def test_killed_at_any_rename_the_same_command_finishes_and_keeps_nothing_of_its_own(
    tmp_path: Path, first: bool
) -> None:
    root = tmp_path / "space"
    if not first:
        _run(Workspace(root), "prepare")
    kills = 0
    for _ in _moments(root, "prepare"):
        kills += 1
        if kills % 2:  # killed once, or twice in a row
            _run(Workspace(root), "prepare", "again")
            assert Workspace(root).is_current("prepare", {})
    assert kills > 6
    assert not (root / "replaced").exists()
    assert not any((root / ".staging").iterdir())


def test_another_user_can_read_what_was_written(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "space")
    before = os.umask(0o022)
    try:
        with workspace.stage("prepare", {}) as run:
            run.path("items.parquet").write_text("x")
            run.path("items.parquet").chmod(0o600)
            (run.directory("images") / "secretive").write_text("x")
            (run.path("images") / "secretive").chmod(0o600)
    finally:
        os.umask(before)
    for name in ("items.parquet", "images/secretive", "manifest.json"):
        assert stat.S_IMODE((workspace.root / name).stat().st_mode) == 0o644, name
    assert stat.S_IMODE(workspace.path("images").stat().st_mode) == 0o755


def test_everything_is_on_the_disk_before_the_manifest_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    workspace = Workspace(tmp_path / "space")
    missing: list[str] = []
    write = Workspace._write_manifest

    def check(self: Workspace, manifest: Manifest) -> None:
        if "prepare" in manifest.stages:
            missing.extend(
                name
                for name in ("items.parquet", "images", "images/file", ".")
                if (self.root / name).stat().st_ino not in synced
            )
        write(self, manifest)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(Workspace, "_write_manifest", check)
    _run(workspace, "prepare")

    assert missing == []
    assert workspace.path("manifest.json").stat().st_ino in synced
