"""Reading one table file of the user's, CSV, TSV, JSON lines or Parquet, plain or gzip, with errors that say where."""

from __future__ import annotations

import csv
import gzip
import io
import json
import warnings
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import InputError

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
            frame: pd.DataFrame = pq.read_table(path).to_pandas(integer_object_nulls=True, ignore_metadata=True)
            return frame
        if kind in ("csv", "tsv", "txt"):
            return _read_separated(path, "\t" if kind == "tsv" else None)
        if kind in ("jsonl", "ndjson", "json"):
            return _read_json_lines(path)
    except (ValueError, OSError, EOFError, zlib.error, pa.ArrowException, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as {kind}: {reason}", hint=_MENDS[kind]) from error
    raise InputError(
        f"{path}: unknown kind of file", hint="use .csv, .tsv, .jsonl or .parquet (csv, tsv, jsonl also .gz)"
    )


def _read_separated(path: Path, separator: str | None) -> pd.DataFrame:
    content = _content(path)
    header = content.split(b"\n", 1)[0].decode("utf-8-sig", errors="replace")
    if separator is None:
        separator = max(SEPARATORS, key=header.count)
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
        raise ValueError(_where_undecodable(content, header, separator)) from error


def _where_undecodable(content: bytes, header: str, separator: str) -> str:
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            before = line[: error.start].decode("utf-8")
            place = len(next(csv.reader([before], delimiter=separator), [""]))
            names = next(csv.reader([header], delimiter=separator))
            column = names[place - 1].strip() if place <= len(names) else str(place)
            return f"line {number}, column {column}: byte 0x{line[error.start]:02x} is not UTF-8"
    return "it is not UTF-8"


def _read_json_lines(path: Path) -> pd.DataFrame:
    records: list[dict[str, Any]] = []
    for number, line in enumerate(_content(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number}: not a JSON object")
        records.append(record)
    return pd.DataFrame(records, dtype=object)


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
