"""The forms that answers take on stdout: TSV, JSON lines, one JSON object, tables, Parquet."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from mmsc_cli.cli.output import Output, as_json, as_tsv

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Rows that are in memory before they become a part of a Parquet file.
_ROW_GROUP = 100_000


class Form(Protocol):
    """How answers are written."""

    def begin(self) -> None:
        """Write what comes before the first answer."""

    def add(self, heading: str, rows: Sequence[Any]) -> None:
        """Write the answers to one question, dataclasses."""

    def end(self) -> None:
        """Write what comes after the last answer."""


def cells(row: Any, columns: Sequence[str]) -> list[Any]:
    """The fields of a row as a person reads them: an explanation is a line, nothing is empty."""
    values = [getattr(row, name) for name in columns]
    return ["" if value is None else value for value in values]


def record(row: Any, columns: Sequence[str]) -> dict[str, Any]:
    """The fields of a row as a program reads them: those of an explanation stand beside the others."""
    whole: dict[str, Any] = {}
    for name in columns:
        value = getattr(row, name)
        whole |= vars(value) if is_dataclass(value) else {name: value}
    return whole


class Tsv:
    """A header and a line per answer."""

    def __init__(self, out: Output, columns: Sequence[str]) -> None:
        self._out, self._columns = out, columns

    def begin(self) -> None:
        """Write the header."""
        self._out.write(as_tsv(self._columns))

    def add(self, heading: str, rows: Sequence[Any]) -> None:
        """Write the lines."""
        self._out.write("".join(as_tsv(cells(row, self._columns)) for row in rows))

    def end(self) -> None:
        """Nothing comes after."""


class JsonLines:
    """A JSON object per answer."""

    def __init__(self, out: Output, columns: Sequence[str]) -> None:
        self._out, self._columns = out, columns

    def begin(self) -> None:
        """Nothing comes before."""

    def add(self, heading: str, rows: Sequence[Any]) -> None:
        """Write the lines."""
        self._out.write("".join(as_json(record(row, self._columns)) + "\n" for row in rows))

    def end(self) -> None:
        """Nothing comes after."""


class JsonObject:
    """One JSON object that holds all answers; written piece by piece, so that memory does not follow their number."""

    def __init__(self, out: Output, columns: Sequence[str]) -> None:
        self._out, self._columns = out, columns
        self._before = '{"answers": ['

    def begin(self) -> None:
        """Wait for the first answer: what fails before it leaves stdout empty."""

    def add(self, heading: str, rows: Sequence[Any]) -> None:
        """Write the answers."""
        for row in rows:
            self._out.write(self._before + as_json(record(row, self._columns)))
            self._before = ", "

    def end(self) -> None:
        """Close the object."""
        self._out.write("]}\n" if self._before == ", " else self._before + "]}\n")


class Tables:
    """One table per question and relation, its heading saying what it answers."""

    def __init__(self, out: Output, columns: Sequence[str]) -> None:
        self._out = out
        self._columns = [name for name in columns if name not in ("query", "relation")]

    def begin(self) -> None:
        """Nothing comes before."""

    def add(self, heading: str, rows: Sequence[Any]) -> None:
        """Draw the tables."""
        for (query, relation), answers in groupby(rows, key=lambda row: (row.query, row.relation)):
            title = f"{relation.capitalize()}s of {query}" + (f": {heading}" if heading else "")
            self._out.draw(self._columns, [cells(row, self._columns) for row in answers], title)

    def end(self) -> None:
        """Nothing comes after."""


class OneTable:
    """One table of all answers, drawn when they are all there."""

    def __init__(self, out: Output, columns: Sequence[str]) -> None:
        self._out, self._columns = out, columns
        self._rows: list[list[Any]] = []

    def begin(self) -> None:
        """Nothing comes before."""

    def add(self, heading: str, rows: Sequence[Any]) -> None:
        """Keep the rows, as their widths decide the table's."""
        self._rows += [cells(row, self._columns) for row in rows]

    def end(self) -> None:
        """Draw the table."""
        if self._rows:
            self._out.draw(self._columns, self._rows)


class Parquet:
    """A Parquet file, written in row groups, so that memory does not follow the number of answers."""

    def __init__(self, kind: type, columns: Sequence[str]) -> None:
        self._kind, self._columns = kind, columns
        self._rows: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Open the file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = _schema(self._kind, self._columns)
        # Bytes that pyarrow holds back would be lost to a reader that waits for them, so it is given stdout itself.
        self._file = pa.PythonFile(sys.stdout.buffer, mode="w")
        self._writer: pq.ParquetWriter = pq.ParquetWriter(self._file, self._schema, compression="zstd")

    def add(self, heading: str, rows: Sequence[Any]) -> None:
        """Write the rows, once there are enough of them."""
        self._rows += [record(row, self._columns) for row in rows]
        if len(self._rows) >= _ROW_GROUP:
            self._flush()

    def end(self) -> None:
        """Write the rest and the file's footer."""
        if self._rows:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()


def _schema(kind: type, columns: Sequence[str]) -> pa.Schema:
    """Column types from the annotations of a dataclass; where an explanation is asked for, its fields are columns."""
    import pyarrow as pa

    from mmsc_cli.infer.explain import Explanation

    types = {"int": pa.int64(), "float": pa.float64(), "list[str]": pa.list_(pa.string())}
    annotated = {field.name: str(field.type) for field in fields(kind) if field.name in columns}
    if annotated.pop("why", None):
        annotated |= {field.name: str(field.type) for field in fields(Explanation)}
    return pa.schema([(name, types.get(of.removesuffix(" | None"), pa.string())) for name, of in annotated.items()])
