"""Every command explains itself, and the reference says the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command

from mmsc_cli.cli.app import app
from mmsc_cli.version import __version__
from tests.fixtures.terminal import in_a_terminal

if TYPE_CHECKING:
    from tests.conftest import Mmsc

SCRIPT = Path(__file__).parents[2] / "docs" / "make_reference.py"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = _script()
COMMANDS = dict(REFERENCE.walk("mmsc", get_command(app)))
LEAVES = [path for path, command in COMMANDS.items() if not hasattr(command, "commands")]


def test_the_commands_of_the_contract_are_there() -> None:
    names = {path.split()[1] for path in COMMANDS if path != "mmsc"}

    assert names == {
        "prepare",
        "label",
        "encode",
        "train",
        "evaluate",
        "infer",
        "run",
        "recipes",
        "doctor",
        "clean",
        "diff",
        "serve",
        "judge",
        "version",
        "show",
        "init",
        "check",
    }


@pytest.mark.parametrize("path", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command(mmsc: Mmsc, path: str, flag: str) -> None:
    ran = mmsc(*path.split()[1:], flag)

    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.startswith(f"Usage: {path} ")
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_has_an_example(mmsc: Mmsc, path: str) -> None:
    shown = mmsc(*path.split()[1:], "--help").out

    assert f"Examples:\n    {path}" in shown or f"\n    {path} " in shown


# Which of the common options mean something to a command.
ALL = {"--workspace", "--set", "--json", "--quiet", "--verbose", "--log-format", "--device", "--seed"}
COMMON_OPTIONS = {
    "prepare": ALL - {"--device"},
    "label": ALL,
    "encode": ALL,
    "train": ALL,
    "evaluate": ALL,
    "infer": ALL - {"--seed"},
    "run": ALL,
    "init": {"--quiet", "--verbose", "--log-format"},
    "check": ALL - {"--device", "--seed"},
    "show": {"--workspace", "--json"},
    "diff": {"--json", "--quiet", "--verbose", "--log-format"},
    "serve": {"--workspace", "--quiet", "--verbose", "--log-format"},
    "judge": {"--workspace", "--json", "--quiet", "--seed", "--log-format"},
    "doctor": {"--workspace", "--json", "--device"},
    "clean": {"--workspace", "--json", "--quiet", "--log-format"},
    "recipes list": {"--json"},
    "recipes show": {"--json", "--set"},
    "recipes copy": {"--json", "--quiet", "--log-format"},
    "recipes settings": {"--json"},
    "version": set(),
}


@pytest.mark.parametrize("path", LEAVES)
def test_a_command_takes_the_common_options_that_mean_something_to_it_and_no_other(mmsc: Mmsc, path: str) -> None:
    words = path.split()[1:]
    shown = mmsc(*words, "--help").out
    takes = COMMON_OPTIONS[" ".join(words)]

    assert {option for option in ALL if f" {option} " in shown.replace(",", " ")} == takes
    for option in sorted(ALL - takes):
        value = () if option in ("--json", "--quiet", "--verbose") else ("1",)
        ran = mmsc(*words, option, *value)
        assert ran.code == 2
        assert f"no such option: {option}" in ran.err.lower()


def test_help_of_infer_is_grouped(mmsc: Mmsc) -> None:
    lines = mmsc("infer", "--help").out.splitlines()
    groups = [line for line in lines if line.endswith(":") and not line.startswith(" ")]

    assert groups == ["Question:", "Which answers:", "Form:", "Where it runs:", "Common:"]
    novel = next(number for number, line in enumerate(lines) if line.startswith("  --novel"))
    assert lines.index("Which answers:") < novel < lines.index("Form:")


@pytest.mark.parametrize("words", [["infer", "--help"], ["--help"], ["evaluate", "--help"]])
def test_a_terminal_gets_panels(words: list[str]) -> None:
    shown = in_a_terminal(words)[1]

    assert "╭─ " in shown
    if words[0] == "infer":
        for panel in ("Question", "Which answers", "Form", "Common"):
            assert f"╭─ {panel} ─" in shown
        assert "mmsc infer --pairs pairs.tsv --explain" in shown


def test_mmsc_alone_shows_the_help(mmsc: Mmsc) -> None:
    alone = mmsc()

    assert alone == mmsc("--help")
    assert alone.code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_completes_command_lines(mmsc: Mmsc, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    ran = mmsc("--show-completion")

    assert (ran.code, ran.err) == (0, "")
    assert "_MMSC_COMPLETE" in ran.out


def test_completion_is_installed_for_the_shell(mmsc: Mmsc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "bash")
    monkeypatch.setenv("HOME", str(tmp_path))
    ran = mmsc("--install-completion")

    assert (ran.code, ran.err) == (0, "")
    (script,) = tmp_path.rglob("mmsc.sh")
    assert "_MMSC_COMPLETE" in script.read_text()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mmsc ", {"prepare", "infer", "recipes"}),
        ("mmsc inf", {"infer"}),
        ("mmsc recipes ", {"list", "show", "copy", "settings"}),
        ("mmsc infer --rel", {"--relation"}),
        ("mmsc infer --relation ", {"substitute", "complement", "both"}),
        ("mmsc train --without i", {"image", "id"}),
        ("mmsc infer D2", set()),
    ],
)
def test_a_shell_completes_commands_options_and_values(
    mmsc: Mmsc, monkeypatch: pytest.MonkeyPatch, typed: str, offered: set[str]
) -> None:
    monkeypatch.setenv("_MMSC_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split(" ")) - 1))
    ran = mmsc()

    assert ran.code == 0
    assert offered <= set(ran.out.split())
    assert offered or not ran.out.strip()


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_is_explained_in_the_reference(path: str) -> None:
    _, _, after = REFERENCE.REFERENCE.read_text(encoding="utf-8").partition(f"\n## {path}\n")
    section = after.partition("\n## ")[0]

    for parameter in COMMANDS[path].params:
        assert parameter.help
        shown = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
        assert all(name in section for name in shown)


def test_the_reference_is_up_to_date() -> None:
    assert REFERENCE.REFERENCE.read_text(encoding="utf-8") == REFERENCE.render_reference(), (
        "run `python docs/make_reference.py`"
    )


def test_the_settings_page_is_up_to_date() -> None:
    assert REFERENCE.SETTINGS.read_text(encoding="utf-8") == REFERENCE.render_settings(), (
        "run `python docs/make_reference.py`"
    )


def test_version(mmsc: Mmsc) -> None:
    assert mmsc("--version").out == mmsc("version").out == f"mmsc {__version__}\n"
