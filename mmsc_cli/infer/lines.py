"""Reading questions, one a line, from a file or a pipe, as they come."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from mmsc_cli.errors import InputError


def read_lines(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of the lines of a file, or of stdin for `-`; empty lines are passed over.

    Raises:
        InputError: the file cannot be read, or is not UTF-8.
    """
    with _opened(source) as file:
        number = 0
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.strip()
        except UnicodeDecodeError as error:
            raise InputError(f"{source}: not UTF-8 after line {number}", hint="save it as UTF-8") from error


def parse_pair(source: str, number: int, line: str) -> tuple[str, str]:
    """Two item ids, separated by a tab, a comma or blanks.

    Raises:
        InputError: there are not two.
    """
    ends = [part for part in re.split(r"[\s,]+", line) if part]
    if len(ends) != 2:
        raise InputError(
            f"{source}:{number}: {len(ends)} ids in a line", hint="write two item ids a line, a tab between"
        )
    return ends[0], ends[1]


@contextmanager
def _opened(source: str) -> Iterator[TextIO]:
    if source == "-":
        yield sys.stdin
        return
    path = Path(source)
    if not path.is_file():
        raise InputError(f"no file at {path}", hint="give a file, or - to read from a pipe")
    with path.open(encoding="utf-8") as file:
        yield file
