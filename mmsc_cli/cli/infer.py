"""`mmsc infer`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmsc_cli.cli.failure import OK, describe, exit_code
from mmsc_cli.cli.output import Output, plain
from mmsc_cli.cli.session import Session, command, typed_command
from mmsc_cli.errors import InputError, UnknownItemError

if TYPE_CHECKING:
    from mmsc_cli.index import Index

Rows = Iterable[Any]


class RelationName(StrEnum):
    """Values of --relation."""

    substitute = "substitute"
    complement = "complement"
    both = "both"


class FormatName(StrEnum):
    """Values of --format."""

    table = "table"
    tsv = "tsv"
    jsonl = "jsonl"
    parquet = "parquet"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "infer",
        "mmsc infer --item B00XYZ --relation complement; cut -f4 answers.tsv | mmsc infer --items-from -",
    )
    def infer_command(
        session: Session,
        item: Annotated[list[str] | None, typer.Option(metavar="ID", help="An item's id. Repeatable.")] = None,
        items_from: Annotated[str | None, typer.Option(metavar="FILE|-", help="Item ids, one a line.")] = None,
        new: Annotated[
            str | None, typer.Option(metavar="FILE|-", help="Items not in the catalogue, as JSON lines.")
        ] = None,
        pairs: Annotated[
            str | None,
            typer.Option(metavar="FILE|-", help="Pairs of ids, one a line: probabilities instead of ranks."),
        ] = None,
        relation: Annotated[RelationName, typer.Option(help="What to look for.")] = RelationName.both,
        k: Annotated[int, typer.Option("-k", min=1, help="Answers per item and relation.")] = 10,
        novel: Annotated[bool, typer.Option("--novel", help="Leave out pairs known from training.")] = False,
        form: Annotated[
            FormatName | None, typer.Option("--format", help="table on a terminal, else tsv, unless given.")
        ] = None,
    ) -> None:
        """Answer from the index: what replaces an item, what goes with it."""
        given = [value for value in (item, items_from, new, pairs) if value]
        if len(given) != 1:
            raise InputError("give one of --item, --items-from, --new, --pairs", hint="see `mmsc infer --help`")
        if pairs:
            columns, questions = _pair_questions(session, pairs)
        elif new:
            columns, questions = _new_questions(session, new, relation, k)
        else:
            columns, questions = _item_questions(session, item, items_from, relation, k, novel)
        answers = _Answers(session.out, columns, form)
        code = answers.write(questions)
        if code != OK:
            raise typer.Exit(code)


Question = Callable[[], Rows]


def _index(session: Session) -> Index:
    from mmsc_cli.index import Index

    return Index.open(session.directory / "index")


def _item_questions(
    session: Session,
    item: list[str] | None,
    items_from: str | None,
    relation: RelationName,
    k: int,
    novel: bool,
) -> tuple[tuple[str, ...], Iterator[Question]]:
    from mmsc_cli.infer.answers import COLUMNS, answer_item
    from mmsc_cli.infer.lines import read_lines

    index = _index(session)
    ids = iter(item) if item else (line for _, line in read_lines(items_from or "-"))

    def questions() -> Iterator[Question]:
        for item_id in ids:
            yield partial(answer_item, index, item_id, relation.value, k, novel)

    return COLUMNS, questions()


def _pair_questions(session: Session, source: str) -> tuple[tuple[str, ...], Iterator[Question]]:
    from mmsc_cli.infer.lines import parse_pair, read_lines
    from mmsc_cli.infer.probabilities import COLUMNS, judge_pair

    index = _index(session)

    def answer(number: int, line: str) -> Rows:
        return [judge_pair(index, *parse_pair(source, number, line))]

    def questions() -> Iterator[Question]:
        for number, line in read_lines(source):
            yield partial(answer, number, line)

    return COLUMNS, questions()


def _new_questions(
    session: Session, source: str, relation: RelationName, k: int
) -> tuple[tuple[str, ...], Iterator[Question]]:
    from mmsc_cli.infer.answers import COLUMNS
    from mmsc_cli.infer.lines import read_lines
    from mmsc_cli.infer.new_items import NewItemAnswers, parse_new_item

    answerer = NewItemAnswers.open(session.workspace, session.device)

    def answer(number: int, line: str) -> Rows:
        return answerer.answer(parse_new_item(source, number, line), f"line {number}", relation.value, k)

    def questions() -> Iterator[Question]:
        for number, line in read_lines(source):
            yield partial(answer, number, line)

    return COLUMNS, questions()


class _Answers:
    """Writes answers as they come; a question that fails goes to stderr and the others go on."""

    def __init__(self, out: Output, columns: tuple[str, ...], form: FormatName | None) -> None:
        self._out = out
        self._columns = columns
        self._form = form or (FormatName.table if sys.stdout.isatty() else FormatName.tsv)
        if self._form == FormatName.parquet and sys.stdout.isatty():
            raise InputError("--format parquet writes bytes", hint="send them to a file: > answers.parquet")

    def write(self, questions: Iterator[Question]) -> int:
        """Write all answers and return the exit code: that of the worst failure, 0 without."""
        code = OK
        collected: list[dict[str, Any]] = []
        keep = self._out.as_json or self._form == FormatName.parquet
        if self._form == FormatName.tsv and not keep:
            self._out.write("\t".join(self._columns) + "\n")
        for question in questions:
            try:
                rows = [dict(vars(row)) for row in question()]
            except (InputError, UnknownItemError) as error:
                sys.stderr.write("\n".join(describe(error, typed_command())) + "\n")
                code = max(code, exit_code(error))
                continue
            if keep:
                collected += rows
            else:
                self._show(rows)
        if self._out.as_json:
            self._out.write(json.dumps({"answers": collected}, ensure_ascii=False) + "\n")
        elif keep:
            self._write_parquet(collected)
        return code

    def _show(self, rows: list[dict[str, Any]]) -> None:
        cells = [[row[name] for name in self._columns] for row in rows]
        match self._form:
            case FormatName.jsonl:
                self._out.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            case FormatName.table:
                self._out.draw(self._columns, cells)
            case _:
                self._out.write("".join("\t".join(plain(cell) for cell in row) + "\n" for row in cells))
        sys.stdout.flush()

    def _write_parquet(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {name: [row[name] for row in rows] for name in self._columns}
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), buffer, compression="zstd")
        sys.stdout.buffer.write(buffer.getvalue())
