"""Every command that a message names can be typed as it stands."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command

import mmsc_cli
from mmsc_cli.cli.app import app
from mmsc_cli.errors import in_workspace
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

PACKAGE = Path(mmsc_cli.__file__).parent
COMMANDS = get_command(app)
# Words that group commands, and messages that are about a command rather than name one to type.
ABOUT = {"mmsc", "mmsc infer", "mmsc run", "mmsc recipes list | show | copy | settings"}


def _texts(path: Path) -> list[str]:
    """The strings of a module other than docstrings; what is filled in is X."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {node} & (docstrings | inside):
            texts.append(node.value)
    return texts


NAMED = sorted(
    {
        command
        for path in PACKAGE.rglob("*.py")
        for text in _texts(path)
        for command in re.findall(r"`(mmsc(?: [^`]*)?)`", text)
    }
    - ABOUT
)


def test_hints_are_found() -> None:
    assert {"mmsc train", "mmsc prepare SOURCE", "mmsc recipes list"} <= set(NAMED)


@pytest.mark.parametrize("named", NAMED)
def test_a_command_that_a_message_names_can_be_typed(mmsc: Mmsc, named: str) -> None:
    if named == "mmsc X":  # a stage, filled in
        return
    words = shlex.split(named)[1:]
    depth = 2 if words[0] == "recipes" else 1

    assert mmsc(*words[:depth], "--help").code == 0
    if "--help" not in words:
        # Parses the command line to its end, arguments included, without running the command.
        command, rest = COMMANDS, words
        for word in words[:depth]:
            command, rest = command.commands[word], rest[1:]  # type: ignore[attr-defined]
        command.make_context(words[depth - 1], [word.replace("X", "1") for word in rest])


def test_the_workspace_that_was_given_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMSC_WORKSPACE", raising=False)
    hint = "run `mmsc train`, see `mmsc recipes list` or `mmsc infer --help`, or `mmsc prepare demo -w DIR`"
    there = (
        "run `mmsc train -w 'my shop'`, see `mmsc recipes list` or `mmsc infer --help`, or `mmsc prepare demo -w DIR`"
    )

    assert in_workspace(hint, Path("workspace")) == hint
    assert in_workspace(hint, Path("my shop")) == there
    assert in_workspace(there, Path("my shop")) == there
    monkeypatch.setenv("MMSC_WORKSPACE", "elsewhere")
    assert "`mmsc train -w workspace`" in in_workspace(hint, Path("workspace"))


@pytest.mark.parametrize("name", ["none", "my shop"])
@pytest.mark.parametrize("given", ["-w", "MMSC_WORKSPACE"])
def test_infer_names_the_way_to_an_index(
    mmsc: Mmsc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if given != "-w":
        monkeypatch.setenv(given, name)
    ran = mmsc("infer", "A", *(["-w", name] if given == "-w" else []))
    where = shlex.quote(name)

    assert ran.code == 2
    assert ran.err.splitlines()[0] == f"mmsc: there is no index at {name}/index"
    for stage in ("run SOURCE", "prepare SOURCE", "encode", "train"):
        assert f"`mmsc {stage} -w {where}`" in ran.err


@pytest.mark.parametrize("command", ["infer A", "show A", "evaluate", "train", "encode", "judge", "serve"])
def test_a_folder_that_is_no_workspace_gets_a_command_that_works(
    mmsc: Mmsc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "notes.txt").touch()
    ran = mmsc(*command.split(), "-w", "papers")
    assert ran.code == 2
    assert "papers is not empty and is no workspace: it has 'notes.txt'" in ran.err
    assert "`mmsc run SOURCE -w papers/workspace`" in ran.err
    assert mmsc("prepare", "demo", "--set", "source.items=200", "-w", "papers/workspace").code == 0


@pytest.mark.parametrize(
    ("done", "hint"), [((), "`mmsc encode -w {}`, then `mmsc train -w {}`"), (("encode",), "`mmsc train -w {}`")]
)
def test_infer_names_the_stages_that_are_missing(
    mmsc: Mmsc, prepared_copy: Workspace, done: tuple[str, ...], hint: str
) -> None:
    for stage in done:
        mmsc(stage, "-w", prepared_copy.root)
    ran = mmsc("infer", "A", "-w", prepared_copy.root)

    assert ran.err.splitlines()[1] == "  run " + hint.replace("{}", str(prepared_copy.root))


def test_a_hint_of_a_deep_layer_names_the_workspace(mmsc: Mmsc, trained_copy: Workspace) -> None:
    trained_copy.path("manifest.json").unlink()  # which would find it first
    with trained_copy.path("index/index.safetensors").open("ab") as file:
        file.truncate(1_000)

    assert f"`mmsc train -w {trained_copy.root}`" in mmsc("infer", "A", "-w", trained_copy.root).err
