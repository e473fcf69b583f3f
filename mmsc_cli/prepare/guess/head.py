"""The first rows of a data file, whatever its kind and packing."""

from __future__ import annotations

import ast
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import InputError
from mmsc_cli.files.feed import read_feed
from mmsc_cli.files.item_fields import is_missing, plain_text
from mmsc_cli.files.no_text import refuse_no_text
from mmsc_cli.files.separated import Dialect, column_names, sniff_separator, undecodable_place
from mmsc_cli.files.table_blocks import json_array
from mmsc_cli.files.table_file import find_name
from mmsc_cli.files.unpacking import check_packing, open_unpacked
from mmsc_cli.prepare.sources.log.log_shard import open_log_file

_BYTES = 4 << 20
_ROWS = 20_000


@dataclass(frozen=True)
class Head:
    """The first rows of a file.

    Attributes:
        path: the file.
        columns: the first cells of each column, by its name.
    """

    path: Path
    columns: Mapping[str, Sequence[Any]]

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.columns)

    def texts(self, name: str) -> list[str]:
        """The cells of a column that are not empty, as text; `items[].item_id` leads into nested lists."""
        base, nested, key = name.partition("[].")
        cells = self.columns.get(find_name(base, self.names) or "", ())
        if nested:
            cells = [
                entry.get(key)
                for cell in cells
                for entry in (cell if isinstance(cell, list) else [])
                if isinstance(entry, dict)
            ]
        return [text for cell in cells if not is_missing(cell) and (text := plain_text(cell))]


def read_head(path: Path) -> Head:
    """Read the first rows of a file.

    Raises:
        InputError: there are none, or it is not readable as what its first bytes say it is.
    """
    try:
        start = read_start(path)
        kind = sniff_kind(start)
        columns = _parquet(path) if kind == "parquet" else _text(path, kind, start)
    except UnicodeDecodeError as error:
        with open_log_file(path) as file:
            place = undecodable_place(file) or str(error)
        raise InputError(f"{path}: not readable: {place}", hint="save it as UTF-8") from error
    except (ValueError, OSError, EOFError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable: {reason}", hint="check that the file is whole") from error
    if not any(len(cells) for cells in columns.values()):
        raise InputError(f"{path}: no rows in it", hint="give a file with a header and at least one row")
    return Head(path, {name: cells for name, cells in columns.items() if name})


def read_start(path: Path) -> bytes:
    """The first bytes of a file, unpacked, without the mark of UTF-8."""
    with open_log_file(path) as file:
        start: bytes = file.read(_BYTES)
    check_packing(path, start[:8])
    return start.removeprefix(b"\xef\xbb\xbf")


def sniff_kind(start: bytes) -> str:
    """The ending that files with such first bytes have: parquet, xml, json, jsonl or csv."""
    if start.startswith(b"PAR1"):
        return "parquet"
    return {b"<": "xml", b"[": "json", b"{": "jsonl"}.get(start.lstrip()[:1], "csv")


def _text(path: Path, kind: str, start: bytes) -> dict[str, Sequence[Any]]:
    if kind == "xml":
        with open_log_file(path) as file:
            return _of_records([product for _, product in itertools.islice(read_feed(file), _ROWS)])
    if kind == "json":
        with open_unpacked(path) as file:
            return _of_records([record for _, record in itertools.islice(json_array(file), _ROWS)])
    refuse_no_text(path, start)
    whole = len(start) < _BYTES
    if kind == "jsonl":
        lines = start.splitlines()
        whole_lines = enumerate((lines if whole else lines[:-1])[:_ROWS], start=1)
        return _of_records([_record(line, path, number) for number, line in whole_lines if line.strip()])
    return _separated(path, start, whole)


def _parquet(path: Path) -> dict[str, Sequence[Any]]:
    with path.open("rb") as file:
        packed = file.read(4) != b"PAR1"
    file = pq.ParquetFile(open_unpacked(path) if packed else path)
    batch = next(file.iter_batches(_ROWS), None)
    if batch is None:
        return {}
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
        columns[name.strip()] = (column.cast(pa.large_string()) if binary else column).to_pylist()
    return columns


def _record(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except ValueError:
        try:
            record = ast.literal_eval(line.decode())  # how Amazon's files of 2014 are written
        except (ValueError, SyntaxError) as error:
            raise InputError(
                f"{path}: line {number} is not JSON: {line[:80]!r}", hint="write one JSON object a line"
            ) from error
    return record if isinstance(record, dict) else {}


def _of_records(records: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
    names = dict.fromkeys(name for record in records for name in record)
    return {name.strip(): [record.get(name) for record in records] for name in names}


def _separated(path: Path, start: bytes, whole: bool) -> dict[str, Sequence[Any]]:
    text = start.decode("utf-8", errors="strict" if whole else "replace").replace("\r\n", "\n")
    text = text.replace("\r", " " if "\n" in text else "\n")
    if not whole:
        text = text[: text.rfind("\n") + 1]
    if not text.strip():
        return {}
    separator = sniff_separator(text.lstrip("\n").split("\n", 1)[0])
    for dialect in (Dialect(separator), Dialect(separator, backslash=True), Dialect(separator, line_by_line=True)):
        header, *rows = _rows(dialect, text)
        names = column_names(header)
        rows = [row for row in rows if len(row) >= len(names)]
        if rows:
            return {name: [row[position] for row in rows] for position, name in enumerate(names) if name}
    if "\n" not in text.strip():
        raise InputError(f"{path}: no rows under its header", hint="give a table with at least one row")
    raise InputError(f"{path}: no row has the columns of the header", hint="check separator and quotes")


def _rows(dialect: Dialect, text: str) -> list[list[str]]:
    """Rows up to the first that is wrong, which the reader itself will name."""
    rows: list[list[str]] = []
    lines: Iterator[tuple[int, list[str]]] = dialect.read(io.StringIO(text))
    try:
        for _, row in itertools.islice(lines, _ROWS):
            rows.append(row)
    except ValueError:
        pass
    return rows or [[]]
