"""Read separated values (CSV, TSV) strictly: every row is right, or the file is refused with the line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

SEPARATORS = ",;\t|"
# A line, a field or a record beyond it is none: titles and descriptions fit a thousand times.
LONGEST_RECORD = 8 << 20
_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class Dialect:
    """How a file writes its fields.

    Attributes:
        separator: between fields.
        backslash: whether a quote within a field is written `\\"` instead of `""`.
        line_by_line: quotes are loose: each line is a row of its own, and a quote within a field stays.
    """

    separator: str
    backslash: bool = False
    line_by_line: bool = False

    def read(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the line on which a row ends, and its fields; blank lines are passed over.

        Raises:
            ValueError: quotes are wrong; the line is named.
        """
        options: dict[str, Any] = {"delimiter": self.separator, "strict": not self.line_by_line}
        if self.backslash:
            options |= {"escapechar": "\\", "doublequote": False}
        csv.field_size_limit(LONGEST_RECORD)
        if self.line_by_line:
            for number, line in enumerate(lines, start=1):
                if row := next(csv.reader([line], **options), None):
                    if any("\n" in field for field in row):
                        raise ValueError(f"line {number}: a quote is not closed")
                    yield number, row
            return
        reader = csv.reader(lines, **options)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, row
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error


def text_lines(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a table, whichever of the three line ends it has; a lone carriage return is a blank.

    Raises:
        ValueError: a line is longer than LONGEST_RECORD.
        UnicodeDecodeError: it is not UTF-8.
    """
    file.seek(0)
    ends = "\n" if any(b"\n" in chunk for chunk in iter(lambda: file.read(_CHUNK_BYTES), b"")) else "\r"
    file.seek(0)
    lines = iter(lambda: file.readline(LONGEST_RECORD + 1), b"") if ends == "\n" else _lines_of_returns(file)
    for number, line in enumerate(lines, start=1):
        if len(line) > LONGEST_RECORD:
            raise ValueError(f"line {number}: longer than {LONGEST_RECORD >> 20} MiB")
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        yield text.replace("\r\n", "\n").replace("\r", " ") if ends == "\n" else text


def _lines_of_returns(file: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
        *lines, rest = (rest + chunk).split(b"\r")
        yield from (line + b"\n" for line in lines)
        if len(rest) > LONGEST_RECORD:
            break
    if rest:
        yield rest


def sniff_separator(header: str) -> str:
    """The one of `,` `;` tab `|` that a header holds most of."""
    return max(SEPARATORS, key=header.count)


def split_fields(line: str, separator: str) -> list[str]:
    """The fields of one line of separated values; of a line that is none, what stands between the separators."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # line ends within it, or a field of more than 128 KiB
        return line.split(separator)


def column_names(header: Sequence[str]) -> list[str]:
    """The names of a header without blanks at their ends; a column without a name has the name ""."""
    return [name.strip().removeprefix("\ufeff").strip() for name in header]


def undecodable_place(lines: Iterable[bytes], separator: str | None = None) -> str | None:
    """Line and column of the first byte that is not UTF-8 in a table of separated values, and the byte; else None."""
    header = ""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            header = line.decode("utf-8-sig", errors="replace")
            separator = separator or sniff_separator(header)
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                return not_utf_8(line, error)
            before = line[: error.start].decode("utf-8")
            position = max(len(split_fields(before, separator or ",")), 1)
            names = split_fields(header.rstrip("\r\n"), separator or ",")
            column = names[position - 1].strip() if position <= len(names) else str(position)
            return f"line {number}, column {column}: {not_utf_8(line, error)}"
    return None


def not_utf_8(line: bytes, error: UnicodeDecodeError) -> str:
    """What is wrong with a line that is not UTF-8."""
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"byte 0x{line[error.start]:02x} is not UTF-8, the file is UTF-16"
    return f"byte 0x{line[error.start]:02x} is not UTF-8"
