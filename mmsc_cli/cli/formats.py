"""The forms that answers take: TSV, CSV, JSON lines, one JSON object, tables, Parquet.

A form takes answers as they come and writes them to stdout or into a file; it is a function over an iterator."""

from __future__ import annotations

import csv
import functools
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any, Literal, TextIO

from mmsc_cli.cli.output import Output, as_json, as_tsv, plain
from mmsc_cli.errors import InputError
from mmsc_cli.infer.answers import record

if TYPE_CHECKING:
    import pyarrow as pa

FormatName = Literal["table", "tsv", "csv", "jsonl", "parquet"]
# What answers one question: the heading of its table, and rows by column.
Answered = tuple[str, Sequence[Mapping[str, Any]]]
# Columns and their types: those of a dataclass as annotated, those of the item table as Arrow has them.
Columns = Mapping[str, Any]
Form = Callable[[Iterable[Answered]], None]
# How a category path is written in a cell, as in the index.
PATH_SEPARATOR = " > "
# Rows that are in memory before they become a part of a Parquet file.
_ROW_GROUP = 100_000


def choose_form(out: Output, columns: Columns, form: FormatName | None) -> Form:
    """The form of answers: a table on a terminal, else TSV, unless `form` or --json says otherwise.

    Args:
        out: where to write.
        columns: the columns to write, and their types.
        form: what --format says.

    Raises:
        InputError: two forms are asked for, or bytes would go to a terminal.
    """
    terminal = sys.stdout.isatty()
    if form and out.as_json:
        raise InputError(f"--json and --format {form} exclude one another", hint="leave one of them out")
    if form == "parquet" and terminal:
        raise InputError("--format parquet writes bytes", hint="send them to a file: > answers.parquet")
    name = "json" if out.as_json else form or ("table" if terminal else "tsv")
    if name == "table":
        draw = _draw_tables if "relation" in columns else _draw_table
        return functools.partial(draw, out, columns)
    return functools.partial(WRITERS[name], sys.stdout, columns)


def typed_columns(kind: type, names: Sequence[str]) -> dict[str, Any]:
    """Some fields of a class, and their types, as it annotates them."""
    # Those of a named tuple stand in an object each.
    types = {name: getattr(kept, "__forward_arg__", kept) for name, kept in kind.__annotations__.items()}
    return {name: types[name] for name in names}


def _cells(row: Mapping[str, Any], columns: Columns) -> list[Any]:
    """The columns of a row as a person reads them: an explanation is a line, a missing value is empty."""
    # Columns of the item table are shown as they are; scores are rounded.
    return [
        "" if row[name] is None else row[name] if isinstance(kind, str) else readable(row[name])
        for name, kind in columns.items()
    ]


def readable(value: Any) -> str:
    """A value of the item table as text."""
    if value is None:
        return ""
    return PATH_SEPARATOR.join(map(str, value)) if isinstance(value, list) else str(value)


def _begun(answers: Iterable[Answered]) -> Iterator[Answered]:
    """The same answers, of which the first is there: what fails before it leaves stdout empty."""
    whole = iter(answers)
    return chain(list(islice(whole, 1)), whole)


def _write_tsv(file: TextIO, columns: Columns, answers: Iterable[Answered]) -> None:
    """A header and a line per answer."""
    answers = _begun(answers)
    file.write(as_tsv(columns))
    for _, rows in answers:
        file.write("".join(as_tsv(_cells(row, columns)) for row in rows))


def _write_csv(file: TextIO, columns: Columns, answers: Iterable[Answered]) -> None:
    """A header and a line per answer, cells in quotes where they need them."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    answers = _begun(answers)
    writer.writerow(columns)
    file.write(lines.getvalue())
    for _, rows in answers:
        lines.seek(0)
        lines.truncate()
        writer.writerows(map(plain, _cells(row, columns)) for row in rows)
        file.write(lines.getvalue())


def _write_json_lines(file: TextIO, columns: Columns, answers: Iterable[Answered]) -> None:
    """A JSON object per answer."""
    for _, rows in answers:
        file.write("".join(as_json(record(row, columns)) + "\n" for row in rows))


def _write_json(file: TextIO, columns: Columns, answers: Iterable[Answered]) -> None:
    """One JSON object, piece by piece; what fails before the first answer leaves stdout empty."""
    before = '{"answers": ['
    for _, rows in answers:
        for row in rows:
            file.write(before + as_json(record(row, columns)))
            before = ", "
    file.write("]}\n" if before == ", " else before + "]}\n")


def _draw_tables(out: Output, columns: Columns, answers: Iterable[Answered]) -> None:
    """A table per question and relation, its heading saying what it answers."""
    columns = {name: kind for name, kind in columns.items() if name not in ("query", "relation")}
    for heading, rows in answers:
        for (query, relation), group in groupby(rows, key=lambda row: (row["query"], row["relation"])):
            title = f"{relation.capitalize()}s of {query}" + (f": {heading}" if heading else "")
            out.draw(list(columns), [_cells(row, columns) for row in group], title)


def _draw_table(out: Output, columns: Columns, answers: Iterable[Answered]) -> None:
    """One table of all answers, whose widths decide the table's."""
    if whole := [_cells(row, columns) for _, rows in answers for row in rows]:
        out.draw(list(columns), whole)


def _write_parquet(file: TextIO, columns: Columns, answers: Iterable[Answered]) -> None:
    """A Parquet file in row groups, so that memory does not follow the number of answers."""
    import pyarrow as pa  # noqa: PLC0415  slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415  slow to import

    answers = _begun(answers)
    # pyarrow is given the stream itself: bytes that it holds back would be lost to a reader that waits for them.
    writer = pq.ParquetWriter(pa.PythonFile(file.buffer, mode="w"), arrow_schema(columns), compression="zstd")
    for batch in record_batches(answers, columns):
        writer.write_batch(batch)
    writer.close()


WRITERS: dict[str, Callable[[TextIO, Columns, Iterable[Answered]], None]] = {
    "tsv": _write_tsv,
    "csv": _write_csv,
    "jsonl": _write_json_lines,
    "json": _write_json,
    "parquet": _write_parquet,
}


def record_batches(answers: Iterable[Answered], columns: Columns) -> Iterator[pa.RecordBatch]:
    """Yield answers as batches of `arrow_schema`, as they come."""
    import pyarrow as pa  # noqa: PLC0415  slow to import

    schema = arrow_schema(columns)
    group: list[dict[str, Any]] = []
    for _, rows in answers:
        group += [record(row, columns) for row in rows]
        if len(group) >= _ROW_GROUP:
            yield pa.RecordBatch.from_pylist(group, schema)
            group = []
    if group:
        yield pa.RecordBatch.from_pylist(group, schema)


def arrow_schema(columns: Columns) -> pa.Schema:
    """Arrow types of columns; where an explanation is asked for, its fields are columns."""
    import pyarrow as pa  # noqa: PLC0415  slow to import

    from mmsc_cli.infer.explain import Explanation  # noqa: PLC0415  brings numpy

    types = {"int": pa.int64(), "float": pa.float64(), "list[str]": pa.list_(pa.string())}
    whole: dict[str, Any] = {}
    for name, kind in columns.items():
        whole |= typed_columns(Explanation, list(Explanation.__annotations__)) if name == "why" else {name: kind}
    return pa.schema(
        [
            (name, types.get(kind.removesuffix(" | None"), pa.string()) if isinstance(kind, str) else kind)
            for name, kind in whole.items()
        ]
    )
