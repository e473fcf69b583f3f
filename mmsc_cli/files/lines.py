"""Reading questions, one a line, from a file or a pipe, as they come."""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mmsc_cli.errors import InputError

# A title and a description fit many times over; a file without line ends does not.
LONGEST_LINE = 2**20
_CHUNK = 2**16
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """One line: `place` says where it stands, for messages (`ids.txt:3`); `text` is without blanks at its ends."""

    place: str
    number: int
    text: str


def read_lines(source: str) -> Iterator[list[Line | InputError]]:
    """Yield the lines of a file, or of stdin for `-`, together as many as are there to be read at the moment.

    A line that is no text of a reasonable length is an error in its place, and the others go on. Empty lines are passed
    over, and counted in the log.

    Raises:
        InputError: there is no such file, or stdin is closed (at once).
    """
    if source == "-":
        # The attribute is None where a process was started without stdin.
        if sys.stdin is None:
            raise InputError("stdin is closed", hint="give a file, or send lines through a pipe")
        return _batches(sys.stdin.buffer, "stdin")
    path = Path(source)
    if not path.exists() or path.is_dir():
        raise InputError(f"no file at {source}", hint="give a file, or - to read from a pipe")
    return _batches(path.open("rb"), source)


def read_ids(source: str) -> Iterator[str]:
    """Yield the ids in a file, or in stdin for `-`, one a line, in quotes or not, as a table of items holds them.

    Raises:
        InputError: there is no such file, or a line is no text.
    """
    from mmsc_cli.files import id_column  # noqa: PLC0415  brings pyarrow

    texts = []
    for batch in read_lines(source):
        for line in batch:
            if isinstance(line, InputError):
                raise line
            texts.append(_fields(line.text, "\n")[0])
    # The first may be the column's name.
    for column in (texts[:1], texts[1:]):
        yield from id_column.read_ids(column)


def _batches(stream: BinaryIO, name: str) -> Iterator[list[Line | InputError]]:
    number = empty = 0
    rest = b""
    overlong = False
    with stream:
        while True:
            # One read of what is there: a question from a pipe is answered before the next one comes.
            chunk = stream.read1(_CHUNK)  # type: ignore[attr-defined]
            *lines, rest = (rest + chunk).split(b"\n")
            if not chunk and (rest or overlong):
                lines.append(rest)
            batch: list[Line | InputError] = []
            for raw in lines:
                number += 1
                line = _line(raw, f"{name}:{number}", number, overlong)
                overlong = False
                if line is None:
                    empty += 1
                else:
                    batch.append(line)
            if batch:
                yield batch
            if not chunk:
                break
            if overlong or len(rest) > LONGEST_LINE:
                overlong, rest = True, b""
    if empty:
        _LOG.info("%s: empty lines passed over: %d", name, empty)


def _line(raw: bytes, place: str, number: int, overlong: bool) -> Line | InputError | None:
    """A line, what is wrong with it, or None where it is empty."""
    if overlong or len(raw) > LONGEST_LINE:
        return InputError(f"{place}: longer than {LONGEST_LINE:,} bytes", hint="write one question a line")
    if b"\0" in raw:
        return InputError(f"{place}: holds NUL bytes", hint="this is no text file, or one in UTF-16: save it as UTF-8")
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError:
        return InputError(f"{place}: not UTF-8", hint="save it as UTF-8")
    return Line(place, number, text) if text else None


def _fields(text: str, separator: str) -> list[str]:
    """The fields of a line; quotes that are not those of separated values are letters."""
    if '"' in text:
        try:
            return next(csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True))
        except csv.Error:
            pass
    return text.split(None if separator == " " else separator)


def read_basket(text: str) -> list[str]:
    """The ids of a basket, in quotes or not, with commas between them."""
    return [part for field in _fields(text, ",") if (part := field.strip())]


def parse_pair(line: Line) -> tuple[str, str]:
    """Two item ids, in quotes or not, separated by a tab, else by a comma, a semicolon, or blanks.

    Raises:
        InputError: there are not two.
    """
    split = (_fields(line.text, mark) for mark in ("\t", ",", ";", " "))
    ends = next((parts for parts in split if len(parts) > 1), [line.text])
    ends = [part.strip() for part in ends if part.strip()]
    if len(ends) != 2:
        raise InputError(
            f"{line.place}: two ids expected, {len(ends)} found", hint="write two a line, with a tab between them"
        )
    return ends[0], ends[1]
