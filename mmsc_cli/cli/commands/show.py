"""`mmsc show`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from mmsc_cli.cli.formats import readable
from mmsc_cli.cli.options import Session, command
from mmsc_cli.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "show",
        "mmsc show B00XYZ",
        'mmsc show --title "curling iron"',
        "mmsc show B00XYZ --json | jq .answers",
        shared=("workspace", "as_json"),
    )
    def show_command(
        session: Session,
        item: Annotated[str | None, typer.Argument(metavar="ID", help="An item's id.")] = None,
        title: Annotated[
            str | None, typer.Option(metavar="WORDS", help="Find items whose titles contain all these words.")
        ] = None,
        k: Annotated[
            int, typer.Option("-k", min=1, metavar="N", help="Number of items, pairs and answers shown.")
        ] = 10,
    ) -> None:
        """Show an item, its pairs and its answers, or find items by title."""
        if (item is None) == (title is None):
            raise InputError("give either an id or --title", hint="see `mmsc show --help`")
        from mmsc_cli.infer.item_card import ItemCards  # noqa: PLC0415  brings pyarrow

        cards = ItemCards(session.directory)
        if title is not None:
            matches = cards.find(title.split(), k)
            if session.out.as_json:
                session.out.json(matches)
            else:
                _table(session, matches, ("item_id", "title"), f"Items with {title!r} in the title")
            if not matches:
                session.out.note(f"no title contains all words of {title!r}")
            return
        assert item is not None
        shown = cards.item(item)
        pairs, answers = cards.pairs(item, k), cards.answers(item, k)
        if session.out.as_json:
            session.out.json({"item": shown, "pairs": pairs, "answers": answers})
            return
        fields = [
            {"column": name, "value": readable(value)} for name, value in shown.items() if value not in (None, "")
        ]
        _table(session, fields, ("column", "value"), f"Item {item}")
        session.out.write("\n")
        _table(session, pairs, ("relation", "item", "strength", "together", "split", "title"), f"Pairs of {item}")
        session.out.write("\n")
        _table(session, answers, ("relation", "rank", "item", "score", "title", "why"), f"Answers for {item}")


def _table(session: Session, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str) -> None:
    session.out.table(columns, [["" if row[name] is None else row[name] for name in columns] for row in rows], title)
