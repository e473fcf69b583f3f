from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import mmsc_cli
from mmsc_cli.errors import NoWorkspaceError, WorkspaceError
from mmsc_cli.workspace.checksums import describe, digest
from mmsc_cli.workspace.digests import artefact_digest
from mmsc_cli.workspace.manifest_file import FORMAT_VERSION
from mmsc_cli.workspace.stages import STAGES, Stage
from mmsc_cli.workspace.workspace import Workspace

FORK = multiprocessing.get_context("fork")
BASE = ("items.parquet", "pairs.parquet")


def _run(
    workspace: Workspace,
    stage: Stage,
    content: str = "1",
    config: Mapping[str, Any] | None = None,
    only: tuple[str, ...] | None = None,
) -> None:
    """Run a stage that writes `content` into each of its artefacts (or of `only`)."""
    with workspace.stage(stage, config or {}) as run:
        run.counts["items"] = 3
        for name in only or STAGES[stage].makes:
            if "." in name:
                run.path(name).write_text(f"{name} {content}")
            else:
                (run.directory(name) / "file").write_text(f"{name} {content}")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Every stage has run once."""
    space = Workspace(tmp_path / "space")
    for stage in STAGES:
        _run(space, stage)
    return space


def _assert_manifest_is_true(workspace: Workspace) -> None:
    """Every artefact that the manifest lists lies there, whole."""
    for stage, record in workspace.manifest().stages.items():
        for name, recorded in record.outputs.items():
            assert artefact_digest(name, describe(workspace.root, name)) == recorded, f"{stage}: {name}"


def test_a_stage_that_ends_is_in_the_manifest_with_all_it_made(workspace: Workspace) -> None:
    _assert_manifest_is_true(workspace)
    manifest = workspace.manifest()
    assert manifest.format_version == FORMAT_VERSION
    assert list(manifest.stages) == list(STAGES)
    train = manifest.stages["train"]
    assert sorted(train.outputs) == ["index", "judged", "model"]
    tables = ["items.parquet", "labels.parquet", "outside.parquet", "pairs.parquet", "proposals.parquet"]
    assert sorted(train.inputs) == ["embeddings", *tables]
    assert train.counts == {"items": 3}
    assert {"mmsc-cli", "python", "numpy"} <= set(train.software)
    assert not any(workspace.path(".staging").iterdir())


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_stage_that_fails_leaves_everything_as_it_was(workspace: Workspace, failure: type[BaseException]) -> None:
    def contents() -> dict[Path, bytes]:
        files = (path for path in workspace.root.rglob("*") if path.is_file() and path.name != ".lock")
        return {path: path.read_bytes() for path in files}

    def train() -> None:
        with workspace.stage("train", {"seed": 2}) as run:
            (run.directory("model") / "file").write_text("half")
            raise failure

    before = contents()
    with pytest.raises(failure):
        train()
    assert contents() == before


def test_an_optional_artefact_that_a_rerun_does_not_make_is_gone(workspace: Workspace) -> None:
    assert workspace.path("truth.parquet").exists()
    _run(workspace, "prepare", only=BASE)
    assert not workspace.path("truth.parquet").exists()
    assert not workspace.path("images").exists()
    assert sorted(workspace.manifest().stages["prepare"].outputs) == list(BASE)


def test_what_a_killed_run_left_behind_is_not_taken_over(workspace: Workspace) -> None:
    left = workspace.path(".staging") / "prepare" / "truth.parquet"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    _run(workspace, "prepare", only=BASE)
    assert not workspace.path("truth.parquet").exists()


@pytest.mark.parametrize(
    ("stage", "command"), [("encode", "prepare SOURCE"), ("label", "prepare SOURCE"), ("train", "prepare SOURCE")]
)
def test_a_stage_before_its_predecessor_names_the_command(tmp_path: Path, stage: Stage, command: str) -> None:
    space = Workspace(tmp_path / "my space")
    with pytest.raises(WorkspaceError, match="there is no workspace") as caught:
        _run(space, stage)
    assert caught.value.hint == f"run `mmsc prepare SOURCE -w '{space.root}'`"
    assert not space.root.exists()
    space.root.mkdir()
    with pytest.raises(WorkspaceError, match=f"`mmsc {stage}` comes after `mmsc prepare`") as caught:
        _run(space, stage)
    assert caught.value.hint == f"run `mmsc {command} -w '{space.root}'`"


def test_training_before_encoding_names_encode(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    _run(space, "prepare")
    with pytest.raises(WorkspaceError, match="no embeddings yet") as caught:
        _run(space, "train")
    assert caught.value.hint == f"run `mmsc encode -w {tmp_path}`"


def test_the_default_workspace_is_left_out_of_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkspaceError) as caught:
        _run(Workspace(Path("workspace")), "encode")
    assert caught.value.hint == "run `mmsc prepare SOURCE`"


def test_labels_are_optional_for_training(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    _run(space, "prepare")
    _run(space, "encode")
    _run(space, "train")
    assert "labels.parquet" not in space.manifest().stages["train"].inputs
    _run(space, "label")
    assert not space.is_current("train", {}), "there are labels now"


def test_an_artefact_made_from_older_tables_is_stale(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    _run(workspace, "prepare", content="2")
    with pytest.raises(WorkspaceError, match=r"embeddings was made from another items\.parquet") as caught:
        _run(workspace, "train")
    assert "`mmsc encode" in str(caught.value.hint)
    _run(workspace, "encode", content="2")
    _run(workspace, "encode")
    with caplog.at_level("WARNING", logger="mmsc_cli"):
        assert "labels.parquet" not in workspace.inputs_of("train"), "old labels are no input"
    assert "labels.parquet was made from another" in caplog.text
    assert "mmsc label" in caplog.text


def test_the_same_tables_again_make_nothing_stale(workspace: Workspace) -> None:
    _run(workspace, "prepare")
    assert all(workspace.is_current(stage, {}) for stage in STAGES)


@pytest.mark.parametrize(
    ("artefact", "stage", "maker"),
    [("items.parquet", "encode", "prepare SOURCE"), ("embeddings", "train", "encode"), ("index", "evaluate", "train")],
)
def test_one_flipped_byte_is_noticed(workspace: Workspace, artefact: str, stage: Stage, maker: str) -> None:
    path = workspace.path(artefact)
    path = path / "file" if path.is_dir() else path
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=f"{path} is damaged") as caught:
        _run(workspace, stage)
    assert caught.value.hint == f"run `mmsc {maker} -w {workspace.root}` again"


def test_a_missing_artefact_is_noticed(workspace: Workspace) -> None:
    workspace.path("pairs.parquet").unlink()
    with pytest.raises(WorkspaceError, match=r"pairs\.parquet is gone"):
        _run(workspace, "encode")


def test_a_file_more_or_renamed_in_a_folder_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / "a").write_text("x")
    found = [digest(folder)]
    (folder / "b").write_text("")
    found.append(digest(folder))
    (folder / "b").rename(folder / "c")
    found.append(digest(folder))
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"format_version": 1, "stages": {"prepare": {}}}', "is damaged: stages.prepare"),
        (b'{"format_version": 1, "stages": {"bake": {}}}', "is damaged: stages.bake"),
        (b'{"format_version": 1, "more": 1}', "is damaged: more"),
        (b'{"format_version": 2, "anything": 1}', "format version 2 is newer"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(workspace: Workspace, content: bytes, message: str) -> None:
    workspace.path("manifest.json").write_bytes(content)
    with pytest.raises(WorkspaceError, match=message) as caught:
        _run(workspace, "train")
    assert str(workspace.path("manifest.json")) in caught.value.message
    assert caught.value.hint
    assert workspace.path("manifest.json").read_bytes() == content


def test_a_stage_is_current_until_something_it_depends_on_changes(workspace: Workspace) -> None:
    config = {"seed": 1, "encode": {"dim": 8, "share": 0.1, "names": ["a"]}}
    _run(workspace, "encode", config=config)
    assert workspace.is_current("encode", config)
    assert not workspace.is_current("encode", config | {"seed": 2})
    assert not Workspace(workspace.root / "elsewhere").is_current("encode", config)


@pytest.mark.parametrize("change", ["input", "output", "input gone", "input damaged", "manifest"])
def test_a_stage_is_not_current_after_a_change(workspace: Workspace, change: str) -> None:
    assert workspace.is_current("train", {})
    match change:
        case "input":
            _run(workspace, "encode", content="2")
        case "output":
            shutil.rmtree(workspace.path("index"))
        case "input gone":
            shutil.rmtree(workspace.path("embeddings"))
        case "input damaged":
            (workspace.path("embeddings") / "file").write_text("x")
        case "manifest":
            workspace.path("manifest.json").unlink()
    assert not workspace.is_current("train", {})


def _in_child(work: Callable[[], None]) -> int | None:
    """Run `work` in a process of its own; its exit code (minus the signal that killed it)."""
    child = FORK.Process(target=work)
    child.start()
    child.join(30)
    return child.exitcode


def test_killed_between_any_two_renames_the_manifest_never_lies(workspace: Workspace) -> None:
    """SIGKILL before the 1st, 2nd, ... rename of a commit: what is listed is whole, and a rerun mends the rest."""
    survived = False
    kills = 0
    while not survived:
        kills += 1

        def die_at(moment: int = kills) -> None:
            left = moment
            real_rename, real_replace = Path.rename, os.replace

            def count() -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            def rename(self: Path, target: Path) -> Path:
                count()
                return real_rename(self, target)

            def replace(source: Path, target: Path) -> None:
                count()
                real_replace(source, target)

            Path.rename = rename  # type: ignore[method-assign, assignment]
            os.replace = replace  # type: ignore[assignment]
            _run(Workspace(workspace.root), "prepare", content=f"after {moment}", only=BASE)

        code = _in_child(die_at)
        survived = code == 0
        assert survived or code == -signal.SIGKILL
        _assert_manifest_is_true(workspace)
        listed = workspace.manifest().stages.get("prepare")
        if survived:
            assert listed is not None
            assert workspace.path("items.parquet").read_text() == f"items.parquet after {kills}"
    assert kills > 4, "manifest out, files away, files in, manifest in"
    _run(workspace, "encode")
    _assert_manifest_is_true(workspace)


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(NoWorkspaceError, match="no folder"):
        _run(Workspace(path), "prepare")


def test_a_manifest_is_readable_json(workspace: Workspace) -> None:
    content = json.loads(workspace.path("manifest.json").read_text())
    assert sorted(content) == ["format_version", "sha256", "stages"]


TRUTH_FOR_THE_ORACLE = {f"label/{name}.py" for name in ("annotators", "dry_run", "label", "oracle", "stage")}


def test_only_the_verdict_and_the_oracle_read_the_truth_of_a_synthetic_shop() -> None:
    package = Path(mmsc_cli.__file__).parent
    readers = {stage for stage, files in STAGES.items() if "truth.parquet" in (*files.needs, *files.uses)}
    assert readers == {"label", "evaluate"}
    assert all("truth.parquet" not in files.needs for files in STAGES.values()), "real catalogues have none"
    for folder in ("encode", "label", "linear", "model", "train", "infer"):
        for path in (package / folder).rglob("*.py"):
            if path.relative_to(package).as_posix() not in TRUTH_FOR_THE_ORACLE:
                text = path.read_text(encoding="utf-8")
                assert "truth.parquet" not in text, path
                assert "tables.truth" not in text, path


def test_processes_that_share_a_stage_work_beside_each_other_and_nobody_else(prepared_copy: Workspace) -> None:
    other = Workspace(prepared_copy.root)
    with prepared_copy.share("encode") as inputs, other.share("encode") as same:
        assert inputs == same
        assert "items.parquet" in inputs
        with pytest.raises(WorkspaceError, match="is using"), other.stage("encode", {}):
            pass
    with (
        prepared_copy.stage("encode", {}),
        pytest.raises(WorkspaceError, match="is using"),
        other.share("encode"),
    ):
        pass


def test_what_a_stage_was_killed_in_the_midst_of_replacing_is_found_old_or_new(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Workspace._put_in_place
    placed: list[str] = []

    def put_one(self: Workspace, artefact: str, *arguments: Any) -> None:
        if placed:
            raise KeyboardInterrupt
        placed.append(artefact)
        put(self, artefact, *arguments)

    monkeypatch.setattr(Workspace, "_put_in_place", put_one)
    with pytest.raises(KeyboardInterrupt):
        _run(workspace, "train", "2")
    assert "train" not in workspace.manifest().stages
    paths = {name: workspace.find_whole(name) for name in STAGES["train"].makes}
    found = {name: (path / "file").read_text() for name, path in paths.items() if path is not None}
    assert found == {"model": "model 2", "judged": "judged 1", "index": "index 1"}
    (workspace.root / "model" / "file").write_text("rubbish")
    assert workspace.find_whole("model") is None
