"""Writing the answers of `infer` as they come: a table, TSV, JSON lines, one JSON object, or Parquet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import groupby
from typing import Any

from mmsc_cli.cli.failure import OK, describe, exit_code
from mmsc_cli.cli.output import Output, as_json, as_tsv
from mmsc_cli.errors import InputError, UnknownItemError

# A question, when called, gives what its tables are headed with, and the rows that answer it (dataclasses).
Question = Callable[[], tuple[str, Iterable[Any]]]


class FormatName(StrEnum):
    """Values of --format."""

    table = "table"
    tsv = "tsv"
    jsonl = "jsonl"
    parquet = "parquet"


class AnswerWriter:
    """Writes each answer before the next question is read; a question that fails goes to stderr, the others go on."""

    def __init__(self, out: Output, columns: Sequence[str], form: FormatName | None) -> None:
        """Choose the form: a table on a terminal, else TSV, unless `form` or --json says otherwise.

        Raises:
            InputError: two forms are asked for, or bytes would go to a terminal.
        """
        if form and out.as_json:
            raise InputError(f"--json and --format {form} exclude one another", hint="leave one of them out")
        if form == FormatName.parquet and sys.stdout.isatty():
            raise InputError("--format parquet writes bytes", hint="send them to a file: > answers.parquet")
        self._out = out
        self._columns = list(columns)
        self._form = form or (FormatName.table if sys.stdout.isatty() else FormatName.tsv)
        drawn_as_one = self._form == FormatName.table and "relation" not in columns
        self._at_once = out.as_json or form == FormatName.parquet or drawn_as_one

    def write(self, questions: Iterator[Question]) -> int:
        """Write all answers and return the exit code: that of the worst failure, 0 without."""
        code = OK
        collected: list[dict[str, Any]] = []
        if self._form == FormatName.tsv and not self._at_once:
            self._out.write(as_tsv(self._columns))
        for question in questions:
            try:
                heading, answer = question()
                rows = [dict(vars(row)) for row in answer]
            except (InputError, UnknownItemError) as error:
                sys.stderr.write("\n".join(describe(error)) + "\n")
                code = max(code, exit_code(error))
                continue
            if self._at_once:
                collected += rows
            else:
                self._show(heading, rows)
                sys.stdout.flush()
        if self._out.as_json:
            self._out.json({"answers": collected})
        elif self._form == FormatName.parquet:
            self._write_parquet(collected)
        elif collected:
            self._out.draw(self._columns, [list(row.values()) for row in collected])
        return code

    def _show(self, heading: str, rows: list[dict[str, Any]]) -> None:
        match self._form:
            case FormatName.table:
                self._draw(heading, rows)
            case FormatName.jsonl:
                self._out.write("".join(as_json(row) + "\n" for row in rows))
            case _:
                self._out.write("".join(as_tsv(row.values()) for row in rows))

    def _draw(self, heading: str, rows: list[dict[str, Any]]) -> None:
        """One table per relation, its heading saying what it answers."""
        for (query, relation), answers in groupby(rows, key=lambda row: (row["query"], row["relation"])):
            shown = self._columns[2:]
            title = f"{relation.capitalize()}s of {query}" + (f": {heading}" if heading else "")
            self._out.draw(shown, [[row[name] for name in shown] for row in answers], title)

    def _write_parquet(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {name: [row[name] for row in rows] for name in self._columns}
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), buffer, compression="zstd")
        sys.stdout.buffer.write(buffer.getvalue())
