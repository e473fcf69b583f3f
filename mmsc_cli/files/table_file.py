"""Reading one table file of the user's, CSV, TSV, JSON lines or Parquet, plain or gzip, with errors that say where."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import InputError
from mmsc_cli.files.unpacking import Unpacked, read_unpacked

SEPARATORS = ",;\t|"
_MENDS = {
    "parquet": "write it again as Parquet, or as CSV",
    **dict.fromkeys(("csv", "tsv", "txt"), "check separator and quotes, and save it as UTF-8"),
    **dict.fromkeys(("jsonl", "ndjson", "json"), "one JSON object a line, in UTF-8"),
}


def read_table_file(path: Path) -> pd.DataFrame:
    """Read a table by the ending of its name.

    CSV: the separator is the one of `,` `;` tab `|` that the header holds most of; every value is text. JSON lines and
    Parquet: values keep their types, whole numbers stay whole where others are missing.

    Raises:
        InputError: no such file, an unknown ending, or content that is not what the ending says; row and column are
            named where they are known.
    """
    if not path.is_file():
        raise InputError(f"no file at {path}", hint="paths in [source] are relative to the recipe file")
    kind = path.name.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    try:
        if kind == "parquet":
            return _read_parquet(path)
        if kind in ("csv", "tsv", "txt"):
            return _read_separated(path, "\t" if kind == "tsv" else None)
        if kind in ("jsonl", "ndjson", "json"):
            return _read_json_lines(path)
    except (ValueError, OSError, EOFError, zlib.error, pa.ArrowException, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as {kind}: {reason}", hint=_MENDS[kind]) from error
    raise InputError(f"{path}: unknown kind of file", hint="use .csv, .tsv, .jsonl or .parquet, plain or .gz")


def _read_parquet(path: Path) -> pd.DataFrame:
    content = pa.BufferReader(read_unpacked(path)) if path.name.lower().endswith(".gz") else pa.OSFile(str(path))
    with content:
        file = pq.ParquetFile(content)
        about, names = file.metadata, file.schema_arrow.names
        groups = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        # Run lengths make billions of equal rows from a few bytes.
        Unpacked(path, path.stat().st_size).add(max(groups, 8 * about.num_rows))
        if len(set(names)) < len(names):
            raise ValueError(f"two columns of one name among {names}")
        table = file.read()
    for name in names:
        try:
            table[name].validate(full=True)
        except pa.ArrowInvalid as error:  # texts are not checked when they are read
            raise ValueError(f"column {name}: {error}") from error
    frame: pd.DataFrame = table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
    return frame


def _read_separated(path: Path, separator: str | None) -> pd.DataFrame:
    content = read_unpacked(path)
    if separator is None:
        separator = sniff_separator(content.split(b"\n", 1)[0].decode("utf-8-sig", errors="replace"))
    try:
        with warnings.catch_warnings():
            # Rows longer than the header are cut with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                io.BytesIO(content),
                sep=separator,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                encoding="utf-8-sig",
                compression=None,
            )
    except UnicodeDecodeError as error:
        raise ValueError(undecodable_place(io.BytesIO(content), separator) or "it is not UTF-8") from error


def sniff_separator(header: str) -> str:
    """The one of `,` `;` tab `|` that a header holds most of."""
    return max(SEPARATORS, key=header.count)


def split_fields(line: str, separator: str) -> list[str]:
    """The fields of one line of separated values; of a line that is none, what stands between the separators."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # line ends within it, or a field of more than 128 KiB
        return line.split(separator)


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
            before = line[: error.start].decode("utf-8")
            place = max(len(split_fields(before, separator or ",")), 1)
            names = split_fields(header.rstrip("\r\n"), separator or ",")
            column = names[place - 1].strip() if place <= len(names) else str(place)
            return f"line {number}, column {column}: {_not_utf_8(line, error)}"
    return None


def _undecodable_field(line: bytes) -> str:
    """The field of a JSON object that holds bytes which are not UTF-8."""
    with suppress(ValueError, RecursionError):
        record = json.loads(line.decode("utf-8", errors="surrogateescape"))
        for name, value in record.items() if isinstance(record, dict) else ():
            if re.search("[\udc80-\udcff]", f"{name} {value}"):
                return f"column {name}"
    return "unknown column"


def _not_utf_8(line: bytes, error: UnicodeDecodeError) -> str:
    return f"byte 0x{line[error.start]:02x} is not UTF-8"


def _read_json_lines(path: Path) -> pd.DataFrame:
    records: list[dict[str, Any]] = []
    for number, line in enumerate(read_unpacked(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number}, {_undecodable_field(line)}: {_not_utf_8(line, error)}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number}: not a JSON object")
        records.append(record)
    return pd.DataFrame(records, dtype=object)
