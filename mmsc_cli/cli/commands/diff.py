"""`mmsc diff`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mmsc_cli.cli.options import Session, command
from mmsc_cli.runtime.plain_words import counted

COLUMNS = ("what", "relation", "name", "old", "new", "change", "note")
# Ids that came or went, of which a row names as many.
_SHOWN = 3


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "diff",
        "mmsc diff yesterday.parquet today.parquet",
        "mmsc diff backup/workspace workspace --json | jq .churn.substitute.top1",
        "mmsc diff postgresql://mmsc@db.shop/shop/neighbours new.parquet",
        "mmsc diff old.parquet new.parquet --fail-under 'churn.substitute.top1<=0.1'",
        shared=("as_json", "quiet", "verbose", "log_format"),
    )
    def diff_command(
        session: Session,
        old: Annotated[
            str,
            typer.Argument(
                metavar="OLD",
                help="A workspace, an index, or a table of answers: a file, or one in a bucket (s3://, gs://) or a "
                "database (postgresql://).",
            ),
        ],
        new: Annotated[str, typer.Argument(metavar="NEW", help="The same of a later night.")],
        k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="Number of answers compared per item.")] = 10,
        moves: Annotated[
            int, typer.Option(min=0, metavar="N", help="Number of most changed items shown per relation.")
        ] = 10,
        fail_under: Annotated[
            str | None,
            typer.Option(
                metavar="EXPR",
                help="Exit with 1 unless every condition holds, e.g. churn.substitute.top1<=0.1; separate conditions "
                "with commas.",
            ),
        ] = None,
    ) -> None:
        """Show what changed in the answers between two nights.

        A table of answers is what `mmsc infer --all` writes in any form. top1 is the share of items whose first answer
        changed; top5 is how far the first five are apart, from 0 (no change) to 1.
        """
        from mmsc_cli.diff.answer_table import read_answers  # noqa: PLC0415  brings pyarrow
        from mmsc_cli.diff.diff import GRAMMAR, check_churn, compare, read_figures  # noqa: PLC0415  brings pyarrow
        from mmsc_cli.metrics.gates import parse_gates  # noqa: PLC0415  not needed to show help

        gates = [] if fail_under is None else parse_gates(fail_under, GRAMMAR)
        result = compare(read_answers(old, k, session.progress), read_answers(new, k, session.progress), moves)
        result["figures"] = {"old": read_figures(Path(old)), "new": read_figures(Path(new))}
        if session.out.as_json:
            session.out.json(result)
        else:
            session.out.table(COLUMNS, [[row.get(name, "") for name in COLUMNS] for row in _rows(result)])
        check_churn(gates, result["churn"])


def _rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The comparison as rows of one table."""
    items = result["items"]
    yield {"what": "items", "name": "number", "old": items["old"], "new": items["new"]}
    for name in ("added", "gone"):
        ids = items[f"{name}_ids"]
        more = f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else ""
        examples = ", ".join(ids[:_SHOWN]) + more
        yield {"what": "items", "name": name, "change": items[name], "note": examples}
    for relation, churn in result["churn"].items():
        block = {"what": "churn", "relation": relation}
        note = f"of {counted(churn['queries'], 'item')}"
        yield {**block, "name": "top1", "change": churn["top1"], "note": f"first answer changed, {note}"}
        yield {**block, "name": "top5", "change": churn["top5"], "note": f"distance of the first five, {note}"}
        for rank, share in enumerate(churn["by_rank"], start=1):
            yield {**block, "name": f"rank {rank}", "change": share}
    figures = result["figures"]
    for path in (path for path in figures["old"] if path in figures["new"]):
        relation, _, name = path.partition(".")
        old, new = figures["old"][path], figures["new"][path]
        yield {"what": "figure", "relation": relation, "name": name, "old": old, "new": new, "change": new - old}
    for relation, churn in result["churn"].items():
        for move in churn["moves"]:
            yield {
                "what": "move",
                "relation": relation,
                "name": move["query"],
                "old": move["old"] or "",
                "new": move["new"] or "",
                "change": move["distance"],
                "note": _note(move),
            }


def _note(move: Mapping[str, Any]) -> str:
    """The titles of a move, ids where none is known (a table has those of answers), and its reason."""
    named = (("title", "query"), ("old_title", "old"), ("new_title", "new"))
    titles = [move[title] or move[item] or "none" for title, item in named]
    return f"{titles[0]}: {titles[1]} -> {titles[2]}; {move['reason']}"
