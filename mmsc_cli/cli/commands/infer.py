"""`mmsc infer`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmsc_cli.cli.failures import OK
from mmsc_cli.cli.formats import AnswerWriter, FormatName
from mmsc_cli.cli.options import Session, command
from mmsc_cli.errors import InputError

if TYPE_CHECKING:
    from mmsc_cli.index.filters import Filters


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
        "mmsc infer --item B00XYZ --relation complement --diversify",
        "mmsc infer --item B00XYZ --format jsonl | jq -r .item | mmsc infer --items-from -",
        "mmsc infer --pairs pairs.tsv --explain",
        """echo '{"title": "USB-C cable 2 m"}' | mmsc infer --new -""",
        "mmsc infer --all --relation both -k 20 --format parquet > neighbours.parquet",
    )
    def infer_command(
        session: Session,
        item: Annotated[list[str] | None, typer.Option(metavar="ID", help="An item's id. Repeatable.")] = None,
        items_from: Annotated[str | None, typer.Option(metavar="FILE|-", help="Item ids, one a line.")] = None,
        whole: Annotated[bool, typer.Option("--all", help="Every item of the catalogue.")] = False,
        new: Annotated[
            str | None,
            typer.Option(
                metavar="FILE|-",
                help="Items not in the catalogue, one JSON object a line: id, title, description, brand, category "
                "(a list), price, image_path, image_url; all optional but one.",
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
        min_score: Annotated[
            float | None, typer.Option("--min-score", metavar="SCORE", help="Leave out answers that score less.")
        ] = None,
        same_category: Annotated[
            bool, typer.Option("--same-category", help="Only answers of the query's category (its whole path).")
        ] = False,
        other_category: Annotated[
            bool, typer.Option("--other-category", help="Only answers of a known other category.")
        ] = False,
        price_within: Annotated[
            str | None,
            typer.Option("--price-within", metavar="N%", help="Only substitutes whose price differs by at most N %."),
        ] = None,
        in_stock: Annotated[
            str | None, typer.Option("--in-stock", metavar="FILE|-", help="Only these ids as answers, one a line.")
        ] = None,
        diversify: Annotated[
            bool,
            typer.Option(
                "--diversify",
                help="Complements of different product types: the best of each category first, then the second best.",
            ),
        ] = False,
        explain: Annotated[
            bool,
            typer.Option("--explain", help="Say why: a line per answer, in JSON and Parquet a field for each reason."),
        ] = False,
        strict: Annotated[
            bool, typer.Option("--strict", help="End at the first line that cannot be used, or unknown item.")
        ] = False,
        exact: Annotated[
            bool, typer.Option("--exact", help="Search exactly even where there is an approximate index.")
        ] = False,
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

        Answers from the index alone; only --new loads the model. Exits with 3 where an item was unknown, else with 1
        where a line could not be used; all others are answered.
        """
        questions_given = {"--item": item, "--items-from": items_from, "--all": whole, "--new": new, "--pairs": pairs}
        filters_given = {
            "--novel": novel,
            "--min-score": min_score,
            "--same-category": same_category,
            "--other-category": other_category,
            "--price-within": price_within,
            "--in-stock": in_stock,
            "--diversify": diversify,
        }
        _check_together(_given(questions_given), _given(filters_given), relation)

        from mmsc_cli.cli import questions
        from mmsc_cli.infer.answers import COLUMNS, Answer
        from mmsc_cli.infer.recommender import Recommender

        # Opening an approximate index takes longer than a few exact answers.
        recommender = Recommender.open(session.directory, exact=exact or bool(item))
        why = ["why"] if explain else []
        if pairs is not None:
            from mmsc_cli.infer.probabilities import COLUMNS as PAIR_COLUMNS
            from mmsc_cli.infer.probabilities import PairOpinion

            writer = AnswerWriter(session.out, PairOpinion, [*PAIR_COLUMNS, *why], form, strict)
            batches = questions.pairs(recommender, pairs, explain)
        else:
            columns = [*COLUMNS, *(["modalities"] if new is not None else []), *why]
            writer = AnswerWriter(session.out, Answer, columns, form, strict)
            filters = _filters(novel, min_score, same_category, other_category, price_within, in_stock, diversify)
            question = questions.Question(relation.value, k, filters, explain)
            if new is not None:
                recommender.reads_new_items_with(session.device, session.recipe().images)
                batches = questions.new_items(recommender, new, question)
            elif items_from is not None:
                batches = questions.listed_items(recommender, items_from, question)
            elif whole:
                batches = questions.whole_catalogue(recommender, question, session.progress)
            else:
                batches = questions.named_items(recommender, item or [], question)
        code = writer.write(batches)
        if code != OK:
            raise typer.Exit(code)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None and value is not False}


def _check_together(asked: Mapping[str, Any], filters: Mapping[str, Any], relation: RelationName) -> None:
    """Refuse options that exclude one another, before anything is opened."""
    if len(asked) != 1:
        raise InputError(
            f"{'too many' if asked else 'no'} questions: give one of --item, --items-from, --all, --new, --pairs",
            hint="see `mmsc infer --help`",
        )
    if "--pairs" in asked and filters:
        raise InputError(
            f"--pairs has no answers to choose from, so {', '.join(filters)} means nothing", hint="leave it out"
        )
    if {"--same-category", "--other-category"} <= set(filters):
        raise InputError("--same-category and --other-category exclude one another", hint="leave one of them out")
    if "--price-within" in filters and relation == RelationName.complement:
        raise InputError("--price-within is for substitutes", hint="leave it out, or ask for --relation substitute")
    if "--diversify" in filters and relation == RelationName.substitute:
        raise InputError("--diversify is for complements", hint="leave it out, or ask for --relation complement")
    if filters.get("--in-stock") == "-" and "-" in asked.values():
        raise InputError("stdin can be read once: --in-stock - and questions from -", hint="give one of them as a file")


def _filters(
    novel: bool,
    min_score: float | None,
    same_category: bool,
    other_category: bool,
    price_within: str | None,
    in_stock: str | None,
    diversify: bool,
) -> Filters:
    from mmsc_cli.files.lines import read_ids
    from mmsc_cli.index.filters import Filters

    return Filters.of(
        novel=novel,
        min_score=min_score,
        category="same" if same_category else "other" if other_category else None,
        price_within=None if price_within is None else _share(price_within),
        in_stock=None if in_stock is None else read_ids(in_stock),
        diversify=diversify,
    )


def _share(text: str) -> float:
    """`20%` as 0.2."""
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float("nan")
    except ValueError:
        return float("nan")
