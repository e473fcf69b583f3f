"""Writes docs/reference.md from the commands' help, and docs/settings.md from the model of a recipe.

python docs/make_reference.py            writes the files
python docs/make_reference.py --check    exits with 1 if one of them is stale
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from typer.main import get_command

from mmsc_cli.cli.app import app
from mmsc_cli.cli.options import COMMON, panel_of
from mmsc_cli.recipe.reference import SettingReference, describe_settings

REFERENCE = Path(__file__).with_name("reference.md")
SETTINGS = Path(__file__).with_name("settings.md")
HEAD = """# Command reference

`python docs/make_reference.py` writes this page from the commands' own `--help`; do not edit it by hand.

Exit codes: 0 ok; 1 ran, but a gate stated with `--fail-under` failed, or a line given to `infer` could not be used;
2 usage, configuration or input error; 3 unknown item; 4 a download or a language model's server was unreachable;
70 an internal error (`MMSC_DEBUG=1` shows the traceback); 130 interrupted (the same command continues).

## Common options

Several commands share these; each command lists the ones it takes.

"""
SETTINGS_HEAD = """# Settings

`python docs/make_reference.py` writes this page from the model of a recipe; do not edit it by hand. `mmsc recipes
settings` prints it.

A setting stands in a recipe's TOML file, in the table that its name begins with, or on the command line:
`--set train.epochs=5`. After a change, `mmsc run` runs the named stage again and every later stage that reads what it
makes. No stage runs again for a setting that only affects speed or memory (`-`).
"""


def render_reference() -> str:
    """The reference as Markdown, the same whatever version of Typer lays out `--help`."""
    commands = list(walk("mmsc", get_command(app)))
    shared = {
        parameter.name: parameter for _, command in commands for parameter in command.params if _is_shared(parameter)
    }
    return HEAD + "\n".join(map(_option, shared.values())) + "\n" + "".join(_section(*command) for command in commands)


def render_settings() -> str:
    """The settings as Markdown, a table per table of the recipe."""
    blocks = [SETTINGS_HEAD]
    for (table, kind), settings in groupby(describe_settings(), key=_table_of):
        title = f"`[{table}]`" + (f' with `kind = "{kind}"`' if kind else "") if table else "Top of the file"
        blocks += [
            f"\n## {title}\n",
            "| setting | default | values | runs again from | meaning |",
            "|---|---|---|---|---|",
        ]
        blocks += [
            f"| `{setting.name}` | {_code(setting.default)} | {_cell(setting.values)} | "
            f"{setting.stages[0] if setting.stages else '-'} | {_cell(setting.description)} |"
            for setting in settings
        ]
    return "\n".join(blocks) + "\n"


def walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it, groups before their commands."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(f"{path} {name}", child)


def _section(path: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    usage = [path, *(parameter.name.upper() for parameter in arguments), "[OPTIONS]"]
    if hasattr(command, "commands"):
        usage.append("COMMAND")
    blocks = [f"\n## {path}\n", _unindented(command.help), f"    {' '.join(usage)}\n"]
    own = [parameter for parameter in command.params if not _is_shared(parameter)]
    panels = dict.fromkeys(map(panel_of, own))
    for panel in panels:
        blocks += [f"{panel}:\n"] if len(panels.keys() - {"Arguments", "Options"}) else []
        blocks += [_parameter(parameter) for parameter in own if panel_of(parameter) == panel] + [""]
    if shared := [f"`{_names(parameter)}`" for parameter in command.params if _is_shared(parameter)]:
        blocks.append(f"[Common options](#common-options): {', '.join(shared)}")
    epilog = (command.epilog or "").removeprefix("\b\n")
    if epilog.startswith("Examples:"):
        blocks.append("\nExamples:\n\n" + "\n".join(f"    {line.strip()}" for line in epilog.splitlines()[1:]))
    elif epilog:
        blocks.append("\n" + epilog)
    return "\n".join(blocks).replace("\n\n\n", "\n\n") + "\n"


def _is_shared(parameter: Any) -> bool:
    return panel_of(parameter) == COMMON


def _parameter(parameter: Any) -> str:
    argument = parameter.param_type_name == "argument"
    return f"- `{parameter.name.upper()}`: {parameter.help}" if argument else _option(parameter)


def _names(option: Any) -> str:
    return ", ".join(sorted(option.opts + option.secondary_opts, key=len))


def _option(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar}"
    notes = []
    if option.default is not None and not option.is_flag and not callable(option.default):
        notes.append(f"default `{option.default}`")
    if option.envvar:
        notes.append(f"environment `{option.envvar}`")
    return f"- `{_names(option)}{value}`: {option.help}" + (f" ({', '.join(notes)})" if notes else "")


def _unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"


def _table_of(setting: SettingReference) -> tuple[str, str]:
    return setting.name.rpartition(".")[0], setting.kind


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else "required"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the files, or check them."""
    pages = {REFERENCE: render_reference(), SETTINGS: render_settings()}
    if "--check" in sys.argv[1:]:
        stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
        sys.stderr.writelines(f"docs/{name} is stale: run `python docs/make_reference.py`\n" for name in stale)
        return int(bool(stale))
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
