"""`mmsc infer`."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mmsc_cli.cli.answers import AnswerWriter, FormatName, Question
from mmsc_cli.cli.failure import OK
from mmsc_cli.cli.session import Session, command
from mmsc_cli.errors import InputError

if TYPE_CHECKING:
    from mmsc_cli.index import Index

Questions = tuple[tuple[str, ...], Iterator[Question]]


class RelationName(StrEnum):
    """Values of --relation."""

    substitute = "substitute"
    complement = "complement"
    both = "both"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "infer",
        "mmsc infer --item B00XYZ --relation complement",
        "mmsc infer --item B00XYZ --format jsonl | jq -r .item | mmsc infer --items-from -",
        "mmsc infer --pairs pairs.tsv",
        """echo '{"title": "USB-C cable 2 m"}' | mmsc infer --new -""",
    )
    def infer_command(
        session: Session,
        item: Annotated[list[str] | None, typer.Option(metavar="ID", help="An item's id. Repeatable.")] = None,
        items_from: Annotated[str | None, typer.Option(metavar="FILE|-", help="Item ids, one a line.")] = None,
        new: Annotated[
            str | None,
            typer.Option(
                metavar="FILE|-",
                help="Items not in the catalogue, one JSON object a line: "
                "id, title, description, brand, category, price, image_path.",
            ),
        ] = None,
        pairs: Annotated[
            str | None,
            typer.Option(metavar="FILE|-", help="Pairs of ids, one a line: probabilities instead of ranks."),
        ] = None,
        relation: Annotated[
            RelationName, typer.Option(metavar="substitute|complement|both", help="What to look for.")
        ] = RelationName.both,
        k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="Answers per item and relation.")] = 10,
        novel: Annotated[bool, typer.Option("--novel", help="Leave out pairs known from training.")] = False,
        form: Annotated[
            FormatName | None,
            typer.Option(
                "--format",
                metavar="table|tsv|jsonl|parquet",
                help="The form of the answers; unless given, a table on a terminal and TSV otherwise.",
            ),
        ] = None,
    ) -> None:
        """Show what replaces an item, and what goes with it.

        Answers from the index alone; only --new loads the model.
        """
        given = [value for value in (item, items_from, new, pairs) if value]
        if len(given) != 1:
            raise InputError(
                f"{'too many' if given else 'no'} questions: give one of --item, --items-from, --new, --pairs",
                hint="see `mmsc infer --help`",
            )
        if pairs:
            columns, questions = _pair_questions(session, pairs)
        elif new:
            columns, questions = _new_questions(session, new, relation, k)
        else:
            columns, questions = _item_questions(session, item, items_from, relation, k, novel)
        code = AnswerWriter(session.out, columns, form).write(questions)
        if code != OK:
            raise typer.Exit(code)


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
) -> Questions:
    from mmsc_cli.infer.answers import COLUMNS, answer_item
    from mmsc_cli.infer.lines import read_lines

    index = _index(session)
    ids = iter(item) if item else (line for _, line in read_lines(items_from or "-"))

    def ask(item_id: str) -> Question:
        return lambda: (index.title(item_id), answer_item(index, item_id, relation.value, k, novel))

    return COLUMNS, map(ask, ids)


def _pair_questions(session: Session, source: str) -> Questions:
    from mmsc_cli.infer.lines import parse_pair, read_lines
    from mmsc_cli.infer.probabilities import COLUMNS, judge_pair

    index = _index(session)

    def ask(numbered: tuple[int, str]) -> Question:
        return lambda: ("", [judge_pair(index, *parse_pair(source, *numbered))])

    return COLUMNS, map(ask, read_lines(source))


def _new_questions(session: Session, source: str, relation: RelationName, k: int) -> Questions:
    from mmsc_cli.infer.answers import COLUMNS
    from mmsc_cli.infer.lines import read_lines
    from mmsc_cli.infer.new_items import NewItemAnswers, parse_new_item

    lines = read_lines(source)
    answerer = NewItemAnswers.open(session.workspace, session.device)

    def answer(number: int, line: str) -> tuple[str, Iterator[object]]:
        item = parse_new_item(source, number, line)
        return item.title, answerer.answer(item, f"line {number}", relation.value, k)

    return COLUMNS, (partial(answer, *numbered) for numbered in lines)
