"""Writes docs/reference.md from what the commands say of themselves.

python docs/make_reference.py            writes the file
python docs/make_reference.py --check    exits with 1 where it is stale
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from mmsc_cli.cli.app import app

REFERENCE = Path(__file__).with_name("reference.md")
HEAD = """# Command reference

Made by `python docs/make_reference.py` from the commands' own `--help`; do not edit it by hand.

Exit codes: 0 ok; 1 ran, but a gate stated with `--fail-under` failed, or a line given to `infer` could not be used;
2 usage, configuration or input error; 3 unknown item; 4 a download or a language model's server was unreachable;
70 a bug of ours (`MMSC_DEBUG=1` shows the traceback); 130 interrupted (the same command continues).
"""


def render_reference() -> str:
    """The reference as Markdown, the same whatever version of Typer lays out `--help`."""
    return HEAD + "".join(_section(path, command) for path, command in walk("mmsc", get_command(app)))


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
    blocks += [f"- `{parameter.name.upper()}`: {parameter.help}" for parameter in arguments]
    blocks += [_option(parameter) for parameter in command.params if parameter.param_type_name == "option"]
    epilog = (command.epilog or "").removeprefix("\b\n")
    if epilog.startswith("Examples:"):
        blocks.append("\nExamples:\n\n" + "\n".join(f"    {line.strip()}" for line in epilog.splitlines()[1:]))
    elif epilog:
        blocks.append("\n" + epilog)
    return "\n".join(blocks) + "\n"


def _option(option: Any) -> str:
    names = ", ".join(sorted(option.opts + option.secondary_opts, key=len))
    value = "" if option.is_flag else f" {option.metavar}"
    notes = []
    default = getattr(option.default, "value", option.default)
    if default is not None and not option.is_flag and not callable(default):
        notes.append(f"default `{default}`")
    if option.envvar:
        notes.append(f"environment `{option.envvar}`")
    return f"- `{names}{value}`: {option.help}" + (f" ({', '.join(notes)})" if notes else "")


def _unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"


def main() -> int:
    """Write the file, or check it."""
    text = render_reference()
    if "--check" in sys.argv[1:]:
        stale = not REFERENCE.exists() or REFERENCE.read_text(encoding="utf-8") != text
        sys.stderr.write("docs/reference.md is stale: run `python docs/make_reference.py`\n" if stale else "")
        return int(stale)
    REFERENCE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
