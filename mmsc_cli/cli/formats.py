"""The forms that answers take on stdout: TSV, JSON lines, one JSON object, tables, Parquet.

Writing the answers of `infer` as they come, whatever their form; a question that fails goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from mmsc_cli.cli import formats as answer_forms
from mmsc_cli.cli.failures import GATE, OK, describe, exit_code
from mmsc_cli.cli.output import Output, as_json, as_tsv
from mmsc_cli.errors import InputError, MmscError

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


# One question: what its tables are headed with, and the rows that answer it (dataclasses); or why there are none.
Outcome = tuple[str, Sequence[Any]] | MmscError


class FormatName(StrEnum):
    """Values of --format."""

    table = "table"
    tsv = "tsv"
    jsonl = "jsonl"
    parquet = "parquet"


class AnswerWriter:
    """Writes what is answered before it asks for more."""

    def __init__(
        self, out: Output, kind: type, columns: Sequence[str], form: FormatName | None, strict: bool = False
    ) -> None:
        """Choose the form: a table on a terminal, else TSV, unless `form` or --json says otherwise.

        Args:
            out: where to write.
            kind: the dataclass of the rows.
            columns: the fields to write.
            form: what --format says.
            strict: end at the first question that fails.

        Raises:
            InputError: two forms are asked for, or bytes would go to a terminal.
        """
        if form and out.as_json:
            raise InputError(f"--json and --format {form} exclude one another", hint="leave one of them out")
        if form == FormatName.parquet and sys.stdout.isatty():
            raise InputError("--format parquet writes bytes", hint="send them to a file: > answers.parquet")
        self._strict = strict
        self._form = self._chosen(out, kind, columns, form)

    @staticmethod
    def _chosen(out: Output, kind: type, columns: Sequence[str], form: FormatName | None) -> Form:
        if out.as_json:
            return answer_forms.JsonObject(out, columns)
        match form or (FormatName.table if sys.stdout.isatty() else FormatName.tsv):
            case FormatName.table if "relation" in columns:
                return answer_forms.Tables(out, columns)
            case FormatName.table:
                return answer_forms.OneTable(out, columns)
            case FormatName.tsv:
                return answer_forms.Tsv(out, columns)
            case FormatName.jsonl:
                return answer_forms.JsonLines(out, columns)
            case _:
                return answer_forms.Parquet(kind, columns)

    def write(self, batches: Iterable[Iterable[Outcome]]) -> int:
        """Write all answers, each batch before the next one is asked for.

        Returns:
            The exit code: 0; 3 where there was an unknown item, else 1 where a line could not be used.

        Raises:
            MmscError: a question failed, and the run is strict.
        """
        code = OK
        self._form.begin()
        for batch in batches:
            for outcome in batch:
                if isinstance(outcome, MmscError):
                    code = max(code, self._failed(outcome))
                else:
                    self._form.add(*outcome)
            sys.stdout.flush()
        self._form.end()
        return code

    def _failed(self, error: MmscError) -> int:
        if self._strict:
            raise error
        sys.stderr.write("\n".join(describe(error)) + "\n")
        return GATE if isinstance(error, InputError) else exit_code(error)
