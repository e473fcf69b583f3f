"""The rows of a table, parsed as a stream and kept by blocks: memory follows a block, not the file."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import orjson
import pyarrow as pa

from mmsc_cli.files.separated import LONGEST_RECORD, Dialect, column_names, not_utf_8, sniff_separator, text_lines

ROWS_AT_A_TIME = 50_000
_BLOCK_BYTES = 8 << 20
_IN_MEMORY = 64 << 20  # smaller tables need no temporary folder
_CHUNK_BYTES = 1 << 18
_MOST_COLUMNS = 10_000
_MOST_DIGITS = 400  # beyond every float; Python converts no number of thousands of digits
_BLANKS = re.compile(r"[ \t\r\n]*+")


class Spool:
    """Columns of rows, block by block: in memory while they are few, else in the temporary folder.

    Attributes:
        rows: their number.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._file: IO[bytes] = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  as long as the table
        self._blocks: list[tuple[int, int]] = []  # rows, and where the block ends

    def add(self, columns: Sequence[Sequence[Any]]) -> None:
        """Add rows, given by their columns, of JSON values; later rows may have more columns."""
        arrays = [_packed(column) for column in columns]
        table = pa.table(arrays, names=[str(number) for number in range(len(arrays))])
        with pa.ipc.new_stream(pa.PythonFile(self._file, "w"), table.schema) as stream:
            stream.write_table(table)
        self.rows += table.num_rows
        self._blocks.append((table.num_rows, self._file.tell()))

    def blocks(self, positions: Sequence[int]) -> Iterator[list[list[Any]]]:
        """Yield, block by block, the columns at these positions."""
        start = 0
        for rows, end in self._blocks:
            self._file.seek(start)
            content = pa.py_buffer(self._file.read(end - start))
            table = pa.ipc.open_stream(content).read_all()
            yield [
                _unpacked(table.column(position)) if position < table.num_columns else [None] * rows
                for position in positions
            ]
            start = end


def _packed(values: Sequence[Any]) -> pa.Array:
    if all(value is None or type(value) is str for value in values):
        with suppress(UnicodeEncodeError):
            return pa.array(values, pa.large_string())
    return pa.array([_as_json(value) for value in values], pa.large_binary())


def _as_json(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"null"


def _unpacked(column: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return [json.loads(value) for value in values] if pa.types.is_large_binary(column.type) else values


def spool_separated(file: IO[bytes], separator: str | None = None) -> tuple[list[str], Spool]:
    """Read separated values under the first of three dialects in which all rows have the fields of the header.

    Args:
        file: its lines end with any of the three line ends, and a lone carriage return beside others is a blank.
        separator: None: the one that the header holds most of.

    Returns:
        The names of the columns, and the rows.

    Raises:
        ValueError: no dialect fits; a line is named.
        UnicodeDecodeError: it is not UTF-8.
    """
    if separator is None:
        separator = sniff_separator(next((line for line in text_lines(file) if line.strip("\n")), ""))
    first_error: ValueError | None = None
    for dialect in (Dialect(separator), Dialect(separator, backslash=True), Dialect(separator, line_by_line=True)):
        try:
            return _spool_rows(dialect.read(text_lines(file)))
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            first_error = first_error or error
    raise first_error or ValueError("no header")


def _spool_rows(rows: Iterator[tuple[int, list[str]]]) -> tuple[list[str], Spool]:
    _, header = next(rows, (0, []))
    names = column_names(header)
    if not any(names):
        raise ValueError("no header")
    _check_width(names)
    spool = Spool()
    for block in _blocks(_fitting(rows, len(names)), lambda row: sum(map(len, row))):
        spool.add(list(zip(*block, strict=True)))
    return names, spool


def _fitting(rows: Iterable[tuple[int, list[str]]], width: int) -> Iterator[list[str]]:
    for number, row in rows:
        if len(row) < width or (len(row) > width and any(field.strip() for field in row[width:])):
            raise ValueError(f"expected {width} fields in line {number}, saw {len(row)}")
        yield row[:width]


def spool_records(records: Iterable[tuple[int, Mapping[str, Any]]]) -> tuple[list[str], Spool]:
    """Keep records, each with its size in bytes; the columns are the names in all of them.

    Raises:
        ValueError: they have thousands of names.
    """
    names: dict[str, None] = {}
    spool = Spool()
    for block in _blocks(records, lambda record: record[0]):
        for _, record in block:
            names |= dict.fromkeys(record)
            _check_width(names)
        spool.add([[record.get(name) for _, record in block] for name in names] or [[None] * len(block)])
    return list(names), spool


def _blocks(rows: Iterable[Any], size: Callable[[Any], int]) -> Iterator[list[Any]]:
    block: list[Any] = []
    held = 0
    for row in rows:
        block.append(row)
        held += size(row)
        if held >= _BLOCK_BYTES or len(block) >= ROWS_AT_A_TIME:
            yield block
            block, held = [], 0
    if block:
        yield block


def _check_width(names: Sequence[str] | Mapping[str, None]) -> None:
    if len(names) > _MOST_COLUMNS:
        raise ValueError(f"more than {_MOST_COLUMNS:,} columns")


def json_lines(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of JSON lines with their sizes; one that is nested too deep for anything is empty.

    Raises:
        ValueError: a line is no JSON object; it is named.
    """
    file.seek(0)
    number = 0
    while line := file.readline(LONGEST_RECORD + 1):
        if len(line) > LONGEST_RECORD:
            raise ValueError(f"line {number + 1}: longer than {LONGEST_RECORD >> 20} MiB")
        for part in line.splitlines():
            number += 1
            if part.strip():
                yield len(part), _json_object(part, number)


def _json_object(line: bytes, number: int) -> dict[str, Any]:
    record: Any = None
    try:
        record = orjson.loads(line)
    except ValueError:
        try:
            record = json.loads(line.decode("utf-8-sig"), parse_int=_whole)  # knows NaN, and says more of an error
        except RecursionError:
            return {}
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number}, {_undecodable_field(line)}: {not_utf_8(line, error)}") from error
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"line {number}: not a JSON object")
    return {name.strip(): value for name, value in record.items()}


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def json_array(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON array with their sizes, without holding the array.

    Raises:
        ValueError: it is no array of objects, or one of them is longer than LONGEST_RECORD.
    """
    file.seek(0)
    text = codecs.getincrementaldecoder("utf-8-sig")()
    decoder = json.JSONDecoder(parse_int=_whole)
    rest, wanted, number = "", "[", 0
    for chunk in chain(iter(lambda: file.read(_CHUNK_BYTES), b""), [b""]):
        rest += text.decode(chunk, final=not chunk)
        position = 0
        while mark := _at(rest, position := _after_blanks(rest, position)):
            if mark not in wanted:
                raise ValueError(f"not a list of JSON objects: {mark!r} after object {number}")
            if mark != "{":
                position += 1
                wanted = {"[": "{]", ",": "{", "]": ""}[mark]
                continue
            try:
                record, end = decoder.raw_decode(rest, position)
            except RecursionError:
                raise ValueError(f"object {number + 1} is nested too deep") from None
            except ValueError:
                if not chunk or len(rest) - position > LONGEST_RECORD:
                    raise
                break  # its end is in a later chunk
            number += 1
            yield end - position, {name.strip(): value for name, value in record.items()}
            position, wanted = end, ",]"
        rest = rest[position:]
    if wanted:
        raise ValueError("the list does not end")


def _at(text: str, position: int) -> str:
    return text[position : position + 1]


def _after_blanks(text: str, position: int) -> int:
    found = _BLANKS.match(text, position)
    return found.end() if found else position


def _undecodable_field(line: bytes) -> str:
    """The field of a JSON object that holds bytes which are not UTF-8."""
    with suppress(ValueError, RecursionError):
        record = json.loads(line.decode("utf-8", errors="surrogateescape"))
        for name, value in record.items() if isinstance(record, dict) else ():
            if re.search("[\udc80-\udcff]", f"{name} {value}"):
                return f"column {name}"
    return "unknown column"
