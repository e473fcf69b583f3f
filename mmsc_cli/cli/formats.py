"""The forms that answers take on stdout: TSV, JSON lines, one JSON object, tables, Parquet.

A form takes answers as they come and writes them; it is a function over an iterator."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from mmsc_cli.cli.output import Output, as_json, as_tsv
from mmsc_cli.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

FormatName = Literal["table", "tsv", "jsonl", "parquet"]
# What answers one question: the heading of its table, and rows (dataclasses).
Answered = tuple[str, Sequence[Any]]
Form = Callable[[Iterable[Answered]], None]
# Rows that are in memory before they become a part of a Parquet file.
_ROW_GROUP = 100_000


def choose_form(out: Output, kind: type, columns: Sequence[str], form: FormatName | None) -> Form:
    """The form of answers: a table on a terminal, else TSV, unless `form` or --json says otherwise.

    Args:
        out: where to write.
        kind: the dataclass of the rows.
        columns: the fields to write.
        form: what --format says.

    Raises:
        InputError: two forms are asked for, or bytes would go to a terminal.
    """
    terminal = sys.stdout.isatty()
    if form and out.as_json:
        raise InputError(f"--json and --format {form} exclude one another", hint="leave one of them out")
    if form == "parquet" and terminal:
        raise InputError("--format parquet writes bytes", hint="send them to a file: > answers.parquet")
    if out.as_json:
        return functools.partial(_write_json, out, columns)
    match form or ("table" if terminal else "tsv"):
        case "table":
            write = _draw_tables if "relation" in columns else _draw_table
            return functools.partial(write, out, columns)
        case "tsv":
            return functools.partial(_write_tsv, out, columns)
        case "jsonl":
            return functools.partial(_write_json_lines, out, columns)
        case _:
            return functools.partial(_write_parquet, kind, columns)


def _cells(row: Any, columns: Sequence[str]) -> list[Any]:
    """The fields of a row as a person reads them: an explanation is a line, a missing value is empty."""
    values = [getattr(row, name) for name in columns]
    return ["" if value is None else value for value in values]


def _record(row: Any, columns: Sequence[str]) -> dict[str, Any]:
    """The fields of a row as a program reads them: an explanation gives several."""
    whole: dict[str, Any] = {}
    for name in columns:
        value = getattr(row, name)
        whole |= vars(value) if is_dataclass(value) else {name: value}
    return whole


def _write_tsv(out: Output, columns: Sequence[str], answers: Iterable[Answered]) -> None:
    """A header and a line per answer."""
    out.write(as_tsv(columns))
    for _, rows in answers:
        out.write("".join(as_tsv(_cells(row, columns)) for row in rows))


def _write_json_lines(out: Output, columns: Sequence[str], answers: Iterable[Answered]) -> None:
    """A JSON object per answer."""
    for _, rows in answers:
        out.write("".join(as_json(_record(row, columns)) + "\n" for row in rows))


def _write_json(out: Output, columns: Sequence[str], answers: Iterable[Answered]) -> None:
    """One JSON object, piece by piece; what fails before the first answer leaves stdout empty."""
    before = '{"answers": ['
    for _, rows in answers:
        for row in rows:
            out.write(before + as_json(_record(row, columns)))
            before = ", "
    out.write("]}\n" if before == ", " else before + "]}\n")


def _draw_tables(out: Output, columns: Sequence[str], answers: Iterable[Answered]) -> None:
    """A table per question and relation, its heading saying what it answers."""
    columns = [name for name in columns if name not in ("query", "relation")]
    for heading, rows in answers:
        for (query, relation), group in groupby(rows, key=lambda row: (row.query, row.relation)):
            title = f"{relation.capitalize()}s of {query}" + (f": {heading}" if heading else "")
            out.draw(columns, [_cells(row, columns) for row in group], title)


def _draw_table(out: Output, columns: Sequence[str], answers: Iterable[Answered]) -> None:
    """One table of all answers, whose widths decide the table's."""
    if whole := [_cells(row, columns) for _, rows in answers for row in rows]:
        out.draw(columns, whole)


def _write_parquet(kind: type, columns: Sequence[str], answers: Iterable[Answered]) -> None:
    """A Parquet file in row groups, so that memory does not follow the number of answers."""
    import pyarrow as pa  # noqa: PLC0415  slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415  slow to import

    schema = _schema(kind, columns)
    # pyarrow is given stdout itself: bytes that it holds back would be lost to a reader that waits for them.
    writer = pq.ParquetWriter(pa.PythonFile(sys.stdout.buffer, mode="w"), schema, compression="zstd")
    for group in _row_groups(answers, columns):
        writer.write_table(pa.Table.from_pylist(group, schema))
    writer.close()


def _row_groups(answers: Iterable[Answered], columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for _, rows in answers:
        group += [_record(row, columns) for row in rows]
        if len(group) >= _ROW_GROUP:
            yield group
            group = []
    if group:
        yield group


def _schema(kind: type, columns: Sequence[str]) -> pa.Schema:
    """Column types from the annotations of a dataclass; where an explanation is asked for, its fields are columns."""
    import pyarrow as pa  # noqa: PLC0415  slow to import

    from mmsc_cli.infer.explain import Explanation  # noqa: PLC0415  brings numpy

    types = {"int": pa.int64(), "float": pa.float64(), "list[str]": pa.list_(pa.string())}
    annotated = {option.name: str(option.type) for option in fields(kind) if option.name in columns}
    if annotated.pop("why", None):
        annotated |= {option.name: str(option.type) for option in fields(Explanation)}
    return pa.schema([(name, types.get(of.removesuffix(" | None"), pa.string())) for name, of in annotated.items()])
