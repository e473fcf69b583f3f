"""`mmsc infer`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmsc_cli.cli.destination import choose_destination
from mmsc_cli.cli.failures import OK
from mmsc_cli.cli.formats import Answered, FormatName, typed_columns
from mmsc_cli.cli.options import COMMON, Session, command
from mmsc_cli.cli.shares import SharesOptions
from mmsc_cli.errors import InputError
from mmsc_cli.files.lines import read_basket, read_ids
from mmsc_cli.infer.answers import COLUMNS, Answer, Asked, asked_relations
from mmsc_cli.infer.choices import Choices
from mmsc_cli.infer.shop.rule_counts import RuleCounts
from mmsc_cli.places.address import is_database
from mmsc_cli.runtime.shares.shards import WHOLE, parse_shard
from mmsc_cli.tables.relations import Relation

if TYPE_CHECKING:
    from mmsc_cli.cli.questions import AskItems, Failures
    from mmsc_cli.infer.attributes import ItemAttributes
    from mmsc_cli.infer.catalogue.wanted import Wanted
    from mmsc_cli.infer.recommender import Outcome, Recommender

QUESTION, WHICH, FORM = "Question", "Which answers", "Form"
# Of WHICH, those that leave nothing out.
_NO_FILTERS = ("-k", "--overlap", "--variants", "--fallback", "--follow-labels", "--diversify")


@dataclass(frozen=True)
class QuestionOptions:
    """What is asked."""

    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Ids of items, as with --item.", rich_help_panel=QUESTION),
    ] = None
    item: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="An item's id. Repeatable.", rich_help_panel=QUESTION)
    ] = None
    items_from: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="File of item ids, one per line.", rich_help_panel=QUESTION),
    ] = None
    all: Annotated[bool, typer.Option("--all", help="Every item of the catalogue.", rich_help_panel=QUESTION)] = False
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="With --all: only part I of N of the catalogue; all parts, one after the other, are the whole.",
            rich_help_panel=QUESTION,
        ),
    ] = None
    new: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="File of items that are not in the catalogue, one JSON object per line with any of id, title, "
            "description, brand, category (a list), price, image_path, image_url; at least one is required.",
            rich_help_panel=QUESTION,
        ),
    ] = None
    pairs: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="File of pairs of ids, one pair per line; gives probabilities instead of ranks.",
            rich_help_panel=QUESTION,
        ),
    ] = None
    basket: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID,ID,...",
            help="Items as one question: what goes with them together. Repeatable, a basket each.",
            rich_help_panel=QUESTION,
        ),
    ] = None
    relation: Annotated[
        Asked, typer.Option(metavar="substitute|complement|both", help="What to look for.", rich_help_panel=QUESTION)
    ] = "both"


@dataclass(frozen=True)
class FilterOptions:
    """Which answers are left, and how many."""

    k: Annotated[
        int,
        typer.Option("-k", min=1, metavar="N", help="Number of answers per item and relation.", rich_help_panel=WHICH),
    ] = 10
    novel: Annotated[
        bool, typer.Option("--novel", help="Leave out pairs known from training.", rich_help_panel=WHICH)
    ] = False
    overlap: Annotated[
        bool,
        typer.Option(
            "--overlap",
            help="Allow an item among both the substitutes and the complements of a query; otherwise it is where it "
            "is more probable.",
            rich_help_panel=WHICH,
        ),
    ] = False
    min_score: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[RELATION=]SCORE",
            help="Leave out answers with a lower score; for one relation: --min-score complement=3. Repeatable.",
            rich_help_panel=WHICH,
        ),
    ] = None
    min_truth: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Leave out answers that the student of labels finds less probable, 0 to 1.",
            rich_help_panel=WHICH,
        ),
    ] = None
    follow_labels: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="How far to follow the student of labels, from 0 (what shoppers did) to 1 (what seems true); default: "
            "as training chose.",
            rich_help_panel=WHICH,
        ),
    ] = None
    same_category: Annotated[
        bool,
        typer.Option(
            "--same-category",
            help="Only answers of the query's category (its whole path); with --other-category: substitutes of the "
            "same category, complements of another.",
            rich_help_panel=WHICH,
        ),
    ] = False
    other_category: Annotated[
        bool,
        typer.Option("--other-category", help="Only answers of another category, if known.", rich_help_panel=WHICH),
    ] = False
    price_within: Annotated[
        str | None,
        typer.Option(metavar="N%", help="Only substitutes whose price differs by at most N %.", rich_help_panel=WHICH),
    ] = None
    in_stock: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Only answers whose ids are in FILE, one per line.", rich_help_panel=WHICH),
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Only answers with this value in a column that the recipe keeps (source.keep); also !=, and of "
            "numbers <, <=, >, >=. Repeatable: all must hold, of several = on one column one.",
            rich_help_panel=WHICH,
        ),
    ] = None
    variants: Annotated[
        bool,
        typer.Option(
            "--variants",
            help="Allow several variants of one product as answers; otherwise only the best one.",
            rich_help_panel=WHICH,
        ),
    ] = False
    diversify: Annotated[
        bool,
        typer.Option(
            "--diversify",
            help="Complements of different product types: the best of each category first, then the second best.",
            rich_help_panel=WHICH,
        ),
    ] = False

    rules: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rules of the shop, CSV, in place of the recipe's: block, pin or boost answers; an empty file: none.",
            rich_help_panel=WHICH,
        ),
    ] = None
    fallback: Annotated[
        bool,
        typer.Option(
            "--fallback",
            help="Fill lists that are too short with bestsellers: of the query's category, of those that go with it, "
            "then of the catalogue.",
            rich_help_panel=WHICH,
        ),
    ] = False

    def choices(self) -> Choices:
        """The same, as the library takes it."""
        return Choices(
            novel=self.novel,
            min_score=self.min_score or [],
            min_truth=self.min_truth,
            same_category=self.same_category,
            other_category=self.other_category,
            price_within=self.price_within,
            in_stock=None if self.in_stock is None else frozenset(read_ids(self.in_stock)),
            where=tuple(self.where or ()),
            variants=self.variants,
            diversify=self.diversify,
            overlap=self.overlap,
        )


@dataclass(frozen=True)
class FormOptions:
    """How answers are written."""

    format: Annotated[
        FormatName | None,
        typer.Option(
            metavar="table|tsv|csv|jsonl|parquet",
            help="Form of the answers; default: as the name of --to ends, a table on a terminal, TSV otherwise.",
            rich_help_panel=FORM,
        ),
    ] = None
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|ADDRESS",
            help="Of --all, put the answers there at once when they are whole: a file, s3://BUCKET/KEY, "
            "gs://BUCKET/KEY, or postgresql://HOST/DATABASE/TABLE (extra `sql`).",
            rich_help_panel=FORM,
        ),
    ] = None
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Add columns of the item table: price, brand, category, image_url, ...",
            rich_help_panel=FORM,
        ),
    ] = None
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Add the reasons: one line per answer; in JSON and Parquet one field per reason.",
            rich_help_panel=FORM,
        ),
    ] = False
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first invalid line or unknown item.", rich_help_panel=FORM)
    ] = False
    judged: Annotated[
        bool,
        typer.Option(
            "--judged",
            help="Answer from the index that was evaluated, which has not seen the held-out pairs.",
            rich_help_panel=FORM,
        ),
    ] = False
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Search exactly even if there is an approximate index.", rich_help_panel=FORM),
    ] = False


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "infer",
        "mmsc infer B00XYZ --relation complement --diversify",
        "mmsc infer B00XYZ --format jsonl | jq -r .item | mmsc infer --items-from -",
        "mmsc infer --pairs pairs.tsv --explain",
        """echo '{"title": "USB-C cable 2 m"}' | mmsc infer --new -""",
        "mmsc infer --all --relation both -k 20 --format parquet > neighbours.parquet",
        "mmsc infer --all -k 20 --to postgresql://mmsc@db.shop/shop/neighbours",
        shared=("workspace", "overrides", "as_json", "quiet", "verbose", "log_format", "device"),
    )
    def infer_command(
        session: Session, question: QuestionOptions, which: FilterOptions, form: FormOptions, shares: SharesOptions
    ) -> None:
        """Show the substitutes and the complements of items.

        Answers come from the index alone; only --new loads the encoder. Unknown items (exit code 3) and invalid
        lines (exit code 1) are reported, and all others are answered.
        """
        _check_together(session.typed, question)
        if shares.elsewhere and (question.shard or not question.all):
            raise InputError("--workers and --ray are for the whole catalogue", hint="give them with --all alone")
        runner = shares.runner()
        relation: Asked = "complement" if question.basket else question.relation
        choices = which.choices()
        choices.check(relation)

        from mmsc_cli.cli.questions import Failures  # noqa: PLC0415  brings numpy
        from mmsc_cli.infer.catalogue.wanted import Wanted  # noqa: PLC0415  brings numpy

        filters = choices.filters()
        ids = [*(question.ids or []), *(question.item or [])]
        wanted = Wanted(
            root=session.directory,
            relation=relation,
            k=which.k,
            filters=filters,
            explain=form.explain,
            overlap=choices.overlap,
            fallback=which.fallback,
            # Opening an approximate index takes longer than a few exact answers.
            exact=form.exact or bool(ids or question.basket),
            judged=form.judged,
            follow_labels=which.follow_labels,
            rules=which.rules,
        )
        recommender = wanted.open()
        columns = _columns(question, form.explain, sources=which.fallback or bool(recommender.book))
        more = [name.strip() for name in (form.columns or "").split(",") if name.strip()]
        extra = recommender.attributes(more) if more else None
        if extra is not None:
            columns |= {field.name: field.type for field in extra.schema if field.name not in columns}
        write = choose_destination(session.out, columns, form.format, form.to)
        failures = Failures(form.strict, session.out.failure)
        counts = RuleCounts()
        chosen = [name for name in session.typed.get(WHICH, {}) if name not in _NO_FILTERS]
        with contextlib.ExitStack() as until_written:
            answer: AskItems = partial(wanted.answer, recommender)
            if runner is not None:
                from mmsc_cli.infer.catalogue.answer_parts import answered_by  # noqa: PLC0415  brings numpy

                answer = until_written.enter_context(answered_by(runner, wanted, len(recommender)))
            answers = _answers(session, recommender, question, wanted, answer, failures, counts)
            if question.pairs is None:
                answers = _counted(answers, asked_relations(relation), chosen, session)
            write(answers if extra is None else _extended(answers, recommender, extra))
        if recommender.book and counts.questions:
            session.out.note(counts.in_words())
        if counts.bestsellers:
            session.out.note(f"filled with {counts.bestsellers:,} bestsellers")
        if failures.code != OK:
            raise typer.Exit(failures.code)


def _counted(
    answers: Iterator[Answered], relations: Sequence[Relation], filters: Sequence[str], session: Session
) -> Iterator[Answered]:
    """Pass answers on, and say at the end for how many questions the filters left none."""
    asked, empty = 0, dict.fromkeys(relations, 0)
    for heading, rows in answers:
        asked += 1
        found = {row["relation"] for row in rows}
        for relation in relations:
            empty[relation] += relation not in found
        yield heading, rows
    without = [f"no {relation}s for {count:,} of {asked:,}" for relation, count in empty.items() if count]
    if without and filters:
        session.out.note(f"{', '.join(without)} {'item' if asked == 1 else 'items'}: {', '.join(filters)} left nothing")


def _extended(answers: Iterator[Answered], recommender: Recommender, extra: ItemAttributes) -> Iterator[Answered]:
    """Add columns of the item table to answers."""
    for heading, rows in answers:
        attributes = extra.of([recommender.index.row(row["item"]) for row in rows])
        yield heading, [{**more, **row} for row, more in zip(rows, attributes, strict=True)]


def _columns(question: QuestionOptions, explain: bool, sources: bool) -> dict[str, Any]:
    """The columns of the answers, and their types; with `sources`, not all answers are the model's."""
    why = ["why"] if explain else []
    if question.pairs is None:
        more = [*(["source"] if sources else []), *(["modalities"] if question.new is not None else [])]
        return typed_columns(Answer, [*COLUMNS, *more, *why])
    from mmsc_cli.infer.probabilities import COLUMNS as PAIR_COLUMNS  # noqa: PLC0415  brings numpy
    from mmsc_cli.infer.probabilities import PairOpinion  # noqa: PLC0415  brings numpy

    return typed_columns(PairOpinion, [*PAIR_COLUMNS, *why])


def _answers(
    session: Session,
    recommender: Recommender,
    question: QuestionOptions,
    wanted: Wanted,
    answer: AskItems,
    failures: Failures,
    counts: RuleCounts,
) -> Iterator[Answered]:
    from mmsc_cli.cli import questions  # noqa: PLC0415  brings numpy

    if question.pairs is not None:
        return questions.pairs(recommender, question.pairs, wanted.explain, failures)

    def ask(ids: Sequence[str]) -> Iterator[Outcome]:
        return counts.watch(answer(ids))

    if question.new is not None:
        from mmsc_cli.infer.new_item import parse_new_item  # noqa: PLC0415  brings pydantic

        recommender.reads_new_items_with(session.device, session.recipe().images)
        return questions.answered_lines(
            question.new,
            lambda line: parse_new_item(line.text, line.place),
            lambda items, lines: counts.watch(
                wanted.answer_new(recommender, items, names=[f"line {line.number}" for line in lines])
            ),
            lambda item: item.title,
            failures,
        )
    if question.basket is not None:
        return questions.baskets(
            question.basket,
            lambda ids: counts.watch([recommender.answer_basket(ids, wanted.k, wanted.filters, wanted.explain)]),
            recommender,
            failures,
        )
    if question.items_from is not None:
        return questions.listed_items(recommender, question.items_from, ask, failures)
    if question.all:
        shard = parse_shard(question.shard) if question.shard else WHOLE
        return questions.whole_catalogue(recommender, ask, failures, session.progress, shard)
    return questions.named_items(recommender, [*(question.ids or []), *(question.item or [])], ask, failures)


def _check_together(typed: Mapping[str, Mapping[str, Any]], question: QuestionOptions) -> None:
    """Refuse options that exclude one another, before anything is opened."""
    asked = {name: value for name, value in typed.get(QUESTION, {}).items() if name != "--relation"}
    if asked.pop("--shard", None) is not None:
        parse_shard(question.shard or "")
        if "--all" not in asked:
            raise InputError("--shard is a part of the whole catalogue", hint="give it with --all")
    filters = {name: value for name, value in typed.get(WHICH, {}).items() if name != "-k"}
    if {"IDS", "--item"} == set(asked):
        del asked["IDS"]
    if len(asked) != 1:
        raise InputError(
            f"{'too many' if asked else 'no'} questions: give ids, or one of --item, --items-from, --all, "
            "--basket, --new, --pairs",
            hint="see `mmsc infer --help`",
        )
    to = str(typed.get(FORM, {}).get("--to", ""))
    if to and "--all" not in asked:
        raise InputError("--to takes the answers of --all", hint="send others to a file: > answers.tsv")
    if question.shard and is_database(to):
        raise InputError(
            "--shard is a part of the answers, and a table holds all of them", hint="give --to a file for each part"
        )
    if "--basket" in asked and typed.get(QUESTION, {}).get("--relation") == "substitute":
        raise InputError(
            "--basket asks what goes with items together; nothing replaces several items at once",
            hint="leave --relation out, or ask for the substitutes of each: `mmsc infer ID ID --relation substitute`",
        )
    if not all(map(read_basket, question.basket or [])):
        raise InputError("--basket: a basket has at least one item", hint="give ids, separated by commas")
    if "--basket" in asked and "--overlap" in filters:
        raise InputError("--overlap is for --relation both, and a basket has complements alone", hint="leave it out")
    if "--pairs" in asked and filters:
        raise InputError(
            f"--pairs has no answers to choose from, so {', '.join(filters)} means nothing", hint="leave it out"
        )
    if "--pairs" in asked and "--columns" in typed.get(FORM, {}):
        raise InputError("--columns adds columns of answers, and --pairs has none", hint="leave it out")
    if "--new" in asked and (of_items := filters.keys() & {"--min-truth", "--follow-labels"}):
        raise InputError(
            f"{min(of_items)} is for items of the catalogue: the student has seen no other", hint="leave it out"
        )
    if filters.get("--in-stock") == "-" and "-" in asked.values():
        raise InputError("stdin can be read once: --in-stock - and questions from -", hint="give one of them as a file")
    only_new = [name for name in ("--set", "--device") if name in typed.get(COMMON, {})]
    if only_new and "--new" not in asked:
        raise InputError(f"{only_new[0]} means something with --new only", hint="leave it out")
