"""Read one table of the user's: separated values, JSON lines, Parquet or a feed in XML, packed or not."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import InputError
from mmsc_cli.files.feed import read_feed
from mmsc_cli.files.separated import not_utf_8, parse_separated, undecodable_place
from mmsc_cli.files.unpacking import Unpacked, read_unpacked

_MENDS = {
    "parquet": "write it again as Parquet, or as CSV",
    "xml": "give a product feed: RSS or Atom with one item or entry a product",
    **dict.fromkeys(("csv", "tsv", "txt"), "check separator and quotes, and save it as UTF-8"),
    **dict.fromkeys(("jsonl", "ndjson", "json"), "one JSON object a line, in UTF-8"),
}
_PACKED = (".gz", ".zst")


class TableFile(Mapping[str, list[Any]]):
    """The columns of a table by name, each a list with one value a row; "" or None is an empty cell.

    Columns without a name are left out. A column is converted when it is asked for.
    """

    def __init__(self, path: Path, names: Sequence[str], rows: int, column: Callable[[int], list[Any]]) -> None:
        """`column` gives the values of the column at a position."""
        self.path = path
        self.rows = rows
        self.repeated = {name for name in names if name and names.count(name) > 1}
        self._position = {name: position for position, name in reversed(list(enumerate(names))) if name}
        self._names = [name for name in dict.fromkeys(names) if name]
        self._column = column
        self._read: dict[str, list[Any]] = {}

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self._read:
            self._read[name] = self._column(self._position[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        """Number of columns; `rows` is the number of rows."""
        return len(self._names)

    def find(self, name: str) -> str | None:
        """The column of this name, else the only one whose name differs in case or blanks alone; None: there is none.

        Raises:
            InputError: two columns have the name.
        """
        column_name = find_name(name, self._names)
        if column_name in self.repeated:
            raise InputError(
                f"{self.path}: two columns are called {column_name!r}", hint="give every column its own name"
            )
        return column_name


def find_name(name: str, names: Sequence[str]) -> str | None:
    """The name itself, else the only one that differs in case, blanks, `_` or `-` alone; None: there is none."""
    if name in names:
        return name
    alike = [other for other in names if _plain(other) == _plain(name)]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def read_table_file(path: Path) -> TableFile:
    """Read a table. The ending of the name says what it is, the first bytes have the last word.

    Separated values: the separator is the one of `,` `;` tab `|` that the header holds most of; every value is text.
    JSON lines and Parquet: values keep their types. A pipe is read once.

    Raises:
        InputError: no such file, an unknown ending, or content that is not what the ending says; row and column are
            named where they are known.
    """
    if not path.exists() or path.is_dir():
        raise InputError(f"no file at {path}", hint="paths in [source] are relative to the recipe file")
    kind = _ending(path)
    if kind not in _MENDS:
        if path.is_file():
            raise InputError(
                f"{path}: unknown kind of file", hint="use .csv, .tsv, .jsonl, .parquet or .xml, plain, .gz or .zst"
            )
        kind = "csv"
    try:
        if kind == "parquet" and not any(path.name.lower().endswith(ending) for ending in _PACKED):
            with pa.OSFile(str(path)) as content:
                return _read_parquet(path, content)
        content = read_unpacked(path)
        kind = _kind_by_content(content, kind)
        if kind == "parquet":
            return _read_parquet(path, pa.BufferReader(content))
        if kind == "xml":
            return _of_records(path, list(read_feed(io.BytesIO(content))))
        if kind in ("csv", "tsv", "txt"):
            return _read_separated(path, content, "\t" if kind == "tsv" else None)
        return _read_json(path, content, array=kind == "json")
    except (ValueError, OSError, EOFError, zlib.error, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as {kind}: {reason}", hint=_MENDS[kind]) from error


def _ending(path: Path) -> str:
    name = path.name.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return name.rsplit(".", 1)[-1]


def _kind_by_content(content: bytes, kind: str) -> str:
    if content.startswith(b"PAR1"):
        return "parquet"
    start = content[:100].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<") and kind != "parquet":
        return "xml"
    if start.startswith((b'{"', b"{ ", b"{\n")) and kind in ("csv", "tsv", "txt"):
        return "jsonl"
    return kind


def _read_parquet(path: Path, content: Any) -> TableFile:
    file = pq.ParquetFile(content)
    metadata, names = file.metadata, file.schema_arrow.names
    groups = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    # Run lengths make billions of equal rows from a few bytes.
    Unpacked(path, path.stat().st_size).add(max(groups, 8 * metadata.num_rows))
    table = file.read()

    def column(position: int) -> list[Any]:
        values = table.column(position)
        try:
            if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
                values = values.cast(pa.large_string())
            values.validate(full=True)  # texts are not checked when they are read
            cells: list[Any] = values.to_pylist()
        except (ValueError, OverflowError) as error:  # a moment outside the years 1 to 9999 overflows
            raise InputError(
                f"{path}: not readable as parquet: column {names[position]}: {error}", hint=_MENDS["parquet"]
            ) from error
        return cells

    return TableFile(path, [name.strip() for name in names], table.num_rows, column)


def _read_separated(path: Path, content: bytes, separator: str | None) -> TableFile:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(undecodable_place(io.BytesIO(content), separator) or "it is not UTF-8") from error
    names, rows, _ = parse_separated(text, separator)
    return TableFile(path, names, len(rows), lambda position: [row[position] for row in rows])


def _read_json(path: Path, content: bytes, *, array: bool) -> TableFile:
    if array and content[:100].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        records = json.loads(content.decode("utf-8-sig"))
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("not a list of JSON objects")
        return _of_records(path, records)
    return _of_records(path, [_json_object(line, number) for number, line in _lines(content)])


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            yield number, line


def _json_object(line: bytes, number: int) -> dict[str, Any]:
    record: Any = None
    try:
        record = orjson.loads(line)
    except ValueError:
        try:
            record = json.loads(line.decode("utf-8-sig"))  # knows NaN, and says more of an error
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number}, {_undecodable_field(line)}: {not_utf_8(line, error)}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"line {number}: not a JSON object")
    return {name.strip(): value for name, value in record.items()}


def _of_records(path: Path, records: Sequence[Mapping[str, Any]]) -> TableFile:
    names = list(dict.fromkeys(name for record in records for name in record))
    return TableFile(path, names, len(records), lambda position: [record.get(names[position]) for record in records])


def _undecodable_field(line: bytes) -> str:
    """The field of a JSON object that holds bytes which are not UTF-8."""
    with suppress(ValueError, RecursionError):
        record = json.loads(line.decode("utf-8", errors="surrogateescape"))
        for name, value in record.items() if isinstance(record, dict) else ():
            if re.search("[\udc80-\udcff]", f"{name} {value}"):
                return f"column {name}"
    return "unknown column"
