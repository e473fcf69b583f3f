"""Reading questions, one a line, from a file or a pipe, as they come."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from mmsc_cli.errors import InputError


def read_lines(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of the lines of a file, or of stdin for `-`; empty lines are passed over.

    Raises:
        InputError: there is no such file (at once), or it is not UTF-8 (when that line is reached).
    """
    if source != "-" and not Path(source).is_file():
        raise InputError(f"no file at {source}", hint="give a file, or - to read from a pipe")
    return _lines(source)


def _lines(source: str) -> Iterator[tuple[int, str]]:
    number = 0
    with nullcontext(sys.stdin) if source == "-" else Path(source).open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.strip()
        except UnicodeDecodeError as error:
            raise InputError(f"{place(source, number + 1)}: not UTF-8", hint="save it as UTF-8") from error


def place(source: str, number: int) -> str:
    """Where a line stands, for messages."""
    return f"{'stdin' if source == '-' else source}:{number}"


def parse_pair(source: str, number: int, line: str) -> tuple[str, str]:
    """Two item ids, separated by a tab, a comma or blanks.

    Raises:
        InputError: there are not two.
    """
    ends = [part for part in re.split(r"[\s,]+", line) if part]
    if len(ends) != 2:
        raise InputError(
            f"{place(source, number)}: two ids expected, {len(ends)} found", hint="write two a line, a tab between"
        )
    return ends[0], ends[1]
