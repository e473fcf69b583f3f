"""What a person reads when something is wrong: what, where, how to mend it; never a traceback."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmsc_cli import errors
from mmsc_cli.cli.failures import describe, exit_code
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc, Ran


def _check(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert 1 <= len(ran.err.splitlines()) <= 2, ran.err
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("recipes", ["missing command", "--help"]),
        ("prepair", ["prepair", "--help"]),
        ("train --epoch 3", ["--epoch", "--help"]),
        ("train --epochs many", ["--epochs", "must be a whole number"]),
        ("train --without brain", ["brain", "denoise"]),
        ("prepare", ["RECIPE|FILES", "mmsc prepare --help"]),
        ("prepare no-such-shop", ["no-such-shop", "demo", "mmsc recipes list"]),
        ("prepare amazon-beuty", ["did you mean amazon-beauty?"]),
        ("prepare nowhere.toml", ["nowhere.toml", "mmsc recipes copy"]),
        ("recipes show no-such-shop", ["no-such-shop"]),
        ("prepare demo --set source.items", ["source.items", "KEY=VALUE"]),
        ("prepare demo --set train.epocs=3", ["train.epocs", "did you mean epochs?"]),
        ("prepare demo --set train.epochs=0", ["train.epochs", "must be above 0"]),
        ("prepare amazon-beauty --input nowhere.json.gz", ["nowhere.json.gz"]),
        ("infer", ["--item", "--new"]),
        ("infer A --top-k 5", ["--top-k", "did you mean -k?"]),
        ("infer A --relation comp", ["invalid value for '--relation': 'comp' is not", "did you mean complement?"]),
        ("infer A --relation substitutes", ["did you mean substitute?"]),
        ("infer A -k 0", ["invalid value for '-k': must be at least 1"]),
        ("prepare demo --set source.kind=event", ["'event' is not one of", "did you mean events?"]),
        ("infer A --price-within 20", ["did you mean 20%?", "--price-within 20%"]),
        ("infer A --price-within 0.2", ["did you mean 20%?", "--price-within 20%"]),
        ("show", ["--title", "mmsc show --help"]),
        ("show A", ["no items", "mmsc run SOURCE"]),
        ("infer --item A --pairs B", ["--item", "--pairs"]),
        ("infer --item A", ["index", "mmsc train"]),
        ("doctor --device abacus", ["abacus"]),
    ],
)
def test_a_command_line_that_cannot_be_run(
    mmsc: Mmsc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    _check(mmsc(*shlex.split(typed)), 2, *words)


@pytest.mark.parametrize("stage", ["encode", "label", "train", "evaluate"])
def test_a_stage_without_a_workspace(mmsc: Mmsc, tmp_path: Path, stage: str) -> None:
    _check(mmsc(stage, "-w", tmp_path / "none"), 2, "none", "mmsc prepare")

    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("stage", "before"), [("train", "encode"), ("evaluate", "encode"), ("infer --item A", "train")]
)
def test_a_stage_before_its_predecessor(mmsc: Mmsc, prepared: Workspace, stage: str, before: str) -> None:
    _check(mmsc(*stage.split(), "-w", prepared.root), 2, f"mmsc {before}")


def test_evaluate_before_train(mmsc: Mmsc, prepared_copy: Workspace) -> None:
    mmsc("encode", "-w", prepared_copy.root)

    _check(mmsc("evaluate", "-w", prepared_copy.root), 2, "no index yet", f"mmsc train -w {prepared_copy.root}")


def test_several_errors_of_a_recipe_are_told_at_once(mmsc: Mmsc, tmp_path: Path) -> None:
    recipe = tmp_path / "shop.toml"
    recipe.write_text('name = "shop"\ncolour = 1\n[source]\nkind = "demo"\n[train]\nepochs = "ten"\n')
    ran = mmsc("prepare", recipe, "-w", tmp_path / "w")

    assert ran.code == 2
    assert f"{recipe}:2: colour" in ran.err
    assert f"{recipe}:6: train.epochs" in ran.err


@pytest.mark.parametrize("command", ["train", "evaluate", "prepare demo"])
def test_a_workspace_of_a_newer_version(mmsc: Mmsc, tmp_path: Path, command: str) -> None:
    (tmp_path / "manifest.json").write_text('{"format_version": 99, "stages": {}}')

    _check(mmsc(*command.split(), "-w", tmp_path), 2, "format version 99", "pip install --upgrade")


def test_an_index_of_a_newer_version(mmsc: Mmsc, trained_copy: Workspace) -> None:
    trained_copy.path("manifest.json").unlink()  # which would find it first
    about = trained_copy.path("index/index.json")
    about.write_text(json.dumps(json.loads(about.read_bytes()) | {"format_version": 99}))

    _check(mmsc("infer", "-w", trained_copy.root, "--item", "A"), 2, "newer mmsc", "upgrade")


def test_a_damaged_index(mmsc: Mmsc, trained_copy: Workspace) -> None:
    with trained_copy.path("index/index.safetensors").open("ab") as file:
        file.truncate(1_000)

    _check(mmsc("infer", "-w", trained_copy.root, "--item", "A"), 2, "damaged", "mmsc train")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ablate", "image,brain"], ["brain", "denoise"]),
        (["--baselines", "popularity,astrology"], ["astrology", "ease"]),
        (["--fail-under", "substitute.all.ndgc@10>=0.5"], ["ndgc@10", "ndcg@10"]),
        (["--fail-under", "substitute.all"], ["substitute.all"]),
        (["--report", "/no/such/folder/report.html"], ["/no/such/folder"]),
    ],
)
def test_a_typo_is_told_before_the_long_work(
    mmsc: Mmsc, trained: Workspace, monkeypatch: pytest.MonkeyPatch, options: list[str], words: list[str]
) -> None:
    def work(*_: object, **__: object) -> None:
        pytest.fail("the long work was started")

    monkeypatch.setattr("mmsc_cli.evaluate.scoreboard.rank_catalogue", work)
    monkeypatch.setattr("mmsc_cli.train.train.train", work)

    _check(mmsc("evaluate", "-w", trained.root, *options), 2, *words)


def test_a_failed_gate_says_so_and_the_verdict_stays(mmsc: Mmsc, trained_copy: Workspace) -> None:
    ran = mmsc("evaluate", "-w", trained_copy.root, "--json", "-q", "--fail-under", "substitute.all.ndcg@10>0.99")

    assert ran.code == 1
    assert ran.err.startswith("mmsc: gate failed: substitute.all.ndcg@10 is 0.")
    assert json.loads(ran.out) == json.loads(trained_copy.path("metrics.json").read_bytes())
    held = mmsc("evaluate", "-w", trained_copy.root, "--json", "-q", "--fail-under", "substitute.all.ndcg@10>=0.01")
    assert (held.code, held.err) == (0, "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("command", ["prepare demo", "encode", "train"])
def test_an_unwritable_folder(mmsc: Mmsc, trained_copy: Workspace, command: str) -> None:
    trained_copy.root.chmod(0o500)
    try:
        _check(mmsc(*command.split(), "-w", trained_copy.root), 2, "no permission", str(trained_copy.root))
    finally:
        trained_copy.root.chmod(0o700)


def _artefacts(workspace: Workspace) -> dict[str, bytes]:
    files = sorted(path for path in workspace.root.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(workspace.root)): path.read_bytes() for path in files}


class _FullDisk:
    def __call__(self, *_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


@pytest.mark.parametrize("command", ["prepare demo --set source.items=200", "label", "evaluate"])
def test_a_full_disk_leaves_what_was_there(
    mmsc: Mmsc, trained_copy: Workspace, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    before = _artefacts(trained_copy)
    monkeypatch.setattr("os.fsync", _FullDisk())

    _check(mmsc(*command.split(), "-w", trained_copy.root, "-q"), 2, "disk is full", "somewhere", "-w DIR")
    assert _artefacts(trained_copy) == before


def test_stdout_that_cannot_be_written(trained: Workspace, item_ids: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    command = [sys.executable, "-m", "mmsc_cli", "infer", "-w", str(trained.root), "--item", item_ids[0]]
    with open("/dev/full", "wb") as full:  # noqa: PTH123 (no path, a device)
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert ran.returncode == 2
    assert ran.stderr.startswith("mmsc: the disk is full, writing stdout")
    assert "-w DIR" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 2


def test_label_without_a_language_model(mmsc: Mmsc, prepared_copy: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmsc_cli.label.vllm.command.find_spec", lambda _: None)
    monkeypatch.setattr("mmsc_cli.label.vllm.command.shutil.which", lambda *_, **__: None)
    ran = mmsc("label", "--model", "llama", "-w", prepared_copy.root, "-q")

    _check(ran, 4, "[vllm]", "--endpoint", "--model rules")


def test_encode_offline_names_the_encoder_that_needs_no_download(prepared_copy: Workspace, tmp_path: Path) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    command = [sys.executable, "-m", "mmsc_cli", "encode", "--encoder", "auto", "-q", "-w", str(prepared_copy.root)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert ran.returncode == 4
    assert "--encoder classic" in ran.stderr
    assert "--encoder open_clip:ARCH/PATH.safetensors" in ran.stderr
    assert len(ran.stderr.splitlines()) == 2
    assert not prepared_copy.path("embeddings").exists()


@pytest.fixture
def break_train(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `train` raise."""

    def arrange(error: BaseException) -> None:
        def train(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("mmsc_cli.train.train.train", train)

    return arrange


def test_a_bug_of_ours(
    mmsc: Mmsc,
    trained_copy: Workspace,
    break_train: Callable[[BaseException], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_train(RuntimeError("impossible"))
    command = ["train", "-w", trained_copy.root, "-q"]

    _check(mmsc(*command), 70, "RuntimeError: impossible", "MMSC_DEBUG=1")
    monkeypatch.setenv("MMSC_DEBUG", "1")
    shown = mmsc(*command)
    assert shown.code == 70
    assert shown.err.startswith("Traceback")


def test_the_debug_variable_shows_the_traceback_of_any_error(
    mmsc: Mmsc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMSC_DEBUG", "1")

    assert "Traceback" in mmsc("train", "-w", tmp_path).err


def test_an_interrupt_names_the_command_that_continues(
    mmsc: Mmsc, trained_copy: Workspace, break_train: Callable[[BaseException], None]
) -> None:
    before = _artefacts(trained_copy)
    break_train(KeyboardInterrupt())

    _check(mmsc("train", "-w", trained_copy.root, "-q"), 130, f"mmsc train -w {trained_copy.root} -q")
    assert _artefacts(trained_copy) == before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.GateError("x"), 1),
        (errors.InputError("x"), 2),
        (errors.WorkspaceError("x"), 2),
        (errors.UnknownItemError("x"), 3),
        (errors.UnreachableError("x"), 4),
        (PermissionError(errno.EACCES, "denied", "/folder"), 2),
        (MemoryError(), 2),
        (ValueError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error: BaseException, code: int) -> None:
    assert exit_code(error) == code
    assert 1 <= len(describe(error)) <= 2


@pytest.mark.parametrize(
    "said",
    [
        "I/O error: No space left on device (os error 28)",
        'IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })',
    ],
)
def test_an_error_of_the_system_is_known_behind_another_library(said: str) -> None:
    class SafetensorError(Exception):
        """As safetensors reports it: a type of its own, the system's error in the text."""

    error = SafetensorError(f"Error while serializing: {said}")

    assert exit_code(error) == 2
    assert "disk is full" in describe(error)[0]


def test_what_an_error_quotes_cannot_steer_the_terminal() -> None:
    lines = describe(errors.UnknownItemError("unknown", hint="nearest ids: A\x1b[2JB"))

    assert lines == ["mmsc: unknown", "  nearest ids: A [2JB"]
