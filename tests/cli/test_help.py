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

    assert names == {"prepare", "label", "encode", "train", "evaluate", "infer", "run", "recipes", "doctor"}


@pytest.mark.parametrize("path", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command(mmsc: Mmsc, path: str, flag: str) -> None:
    ran = mmsc(*path.split()[1:], flag)

    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.startswith(f"Usage: {path} ")
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_has_an_example_and_the_common_options(mmsc: Mmsc, path: str) -> None:
    shown = mmsc(*path.split()[1:], "--help").out

    assert f"Examples:\n    {path}" in shown or f"\n    {path} " in shown
    for option in ("--workspace", "--set", "--json", "--quiet", "--verbose", "--device", "--seed"):
        assert option in shown


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


def test_version(mmsc: Mmsc) -> None:
    assert mmsc("--version").out == f"mmsc {__version__}\n"
