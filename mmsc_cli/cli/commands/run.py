"""`mmsc run`."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from mmsc_cli.cli.commands.prepare import describe_counts
from mmsc_cli.cli.options import InputsOption, Session, command
from mmsc_cli.cli.shares import SharesOptions
from mmsc_cli.cli.sources import SourcesArgument, choose_source
from mmsc_cli.errors import in_workspace
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.workspace.stages import Stage


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "run",
        "mmsc run demo",
        "mmsc run products.csv events.jsonl -w shop",
        "mmsc run items.parquet 'log/2026-*.csv.gz' --images",
        "mmsc run amazon-beauty --input meta_Beauty.json.gz",
        "mmsc run shop.toml --no-label",
    )
    def run_command(
        session: Session,
        sources: SourcesArgument,
        shares: SharesOptions,
        inputs: InputsOption = None,
        images: Annotated[
            bool | None,
            typer.Option("--images/--no-images", help="Download the images that items name by URL."),
        ] = None,
        model: Annotated[
            str | None, typer.Option(metavar="NAME", help="Label pairs with this model; see `mmsc label --help`.")
        ] = None,
        label: Annotated[
            bool | None,
            typer.Option(
                "--label/--no-label",
                help="Label pairs; default: if the recipe has a table [label] or --model is given.",
            ),
        ] = None,
    ) -> None:
        """Run all stages of a recipe, or of files, skipping what is up to date.

        From files, mmsc guesses the recipe: which of them hold items, events or pairs, their columns, and what their
        events are called. It prints what it decided, and stores the recipe in the workspace.
        """
        from mmsc_cli.pipeline import Computing, run_all  # noqa: PLC0415  brings torch

        started = time.monotonic()
        flags = {"images.download": images, "label.model": model}
        source = choose_source(session, sources, inputs or [], flags, session.workspace)
        if source.guessed:
            session.out.note(f"recipe: {source.path}")
        if label is None:
            label = "label" in source.recipe.model_fields_set
            if not label:
                session.out.note(
                    "label: skipped, as the recipe has no [label]; `mmsc label --model rules` needs no LLM"
                )
        done = run_all(
            session.workspace,
            source.recipe,
            inputs=source.inputs,
            recipe_directory=source.directory,
            copies=source.copies,
            label=label,
            computing=Computing(shares.device(session), session.progress, shares.runner(gpus=True)),
        )
        report = session.workspace.path("report.html")
        example, answers = _example(session)
        infer = in_workspace(f"`mmsc infer {_typed(example)}`", session.directory)
        seconds = round(time.monotonic() - started, 3)
        told = {"report": str(report), "example": example, "next": infer.strip("`"), "seconds": seconds}
        if session.out.as_json:
            session.out.json({"workspace": str(session.directory), "stages": done} | _figures(session) | told)
        for line in (*_summary(session, done), *answers, f"report: {report}", f"next: {infer}"):
            session.out.note(line)
        _note_end(session, done, seconds)


def _note_end(session: Session, done: Mapping[Stage, str], seconds: float) -> None:
    """Write the last line, which is for logs: what ran, what there is now, and how long it took."""
    records = session.workspace.manifest().stages
    stages = {name: state if state != "done" else round(records[name].seconds, 1) for name, state in done.items()}
    counts = {name: records["prepare"].counts[name] for name in ("items", "pairs")}
    took = ", ".join(
        f"{name} {state} s" if isinstance(state, float) else f"{name} {state}" for name, state in stages.items()
    )
    numbers = ", ".join(counted(number, name.removesuffix("s")) for name, number in counts.items())
    training = records["train"].counts.get("start", "anew") if done["train"] == "done" else "not"
    fields = {"seconds": seconds, "counts": counts, "stages": stages, "training": training}
    session.out.note(f"run: {numbers} in {seconds:.1f} s ({took})", **fields)


def _summary(session: Session, done: Mapping[Stage, str]) -> Iterator[str]:
    """What was read and held out, and how well the model does on it; warnings, unless this run logged them."""
    counts = session.workspace.manifest().stages["prepare"].counts
    yield from describe_counts(counts)
    if done["prepare"] != "done":
        yield from (f"  warning: {warning}" for warning in counts.get("warnings", []))
    pairs, items = counts["pair_splits"], counts["item_splits"]
    yield (
        f"held out: {counted(pairs['test'], 'pair')} and {counted(items.get('cold_test', 0), 'item')} for the test, "
        f"{pairs['valid']:,} and {items.get('cold_valid', 0):,} for validation"
    )
    models = json.loads(session.workspace.path("metrics.json").read_bytes())["models"]
    for relation in RELATIONS:
        figures = {name: slices[relation]["all"] for name, slices in models.items()}
        yield f"{relation}s: {_verdict(figures)}"


def _figures(session: Session) -> dict[str, Any]:
    """What `_summary` says, as JSON values."""
    counts = session.workspace.manifest().stages["prepare"].counts
    models = json.loads(session.workspace.path("metrics.json").read_bytes())["models"]
    return {
        "counts": counts,
        "warnings": counts.get("warnings", []),
        "held_out": {"pairs": counts["pair_splits"], "items": counts["item_splits"]},
        "figures": {
            relation: {name: slices[relation]["all"] for name, slices in models.items()} for relation in RELATIONS
        },
    }


def _typed(item_id: str) -> str:
    """An id as it is typed: an option's name it is not, and control characters are escaped as Bash reads them."""
    if not item_id.isprintable():
        escaped = "".join(
            f"\\x{ord(letter):02x}" if ord(letter) < 32 or letter in "\\'" else letter for letter in item_id
        )
        return f"$'{escaped}'"
    return f"--item={shlex.quote(item_id)}" if item_id.startswith("-") else shlex.quote(item_id)


def _verdict(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The model beside the best baseline, on held-out pairs between warm items."""
    if not figures["mmsc"]["queries"]:
        return "no held-out pairs"
    baselines = {name: figure["ndcg@10"] for name, figure in figures.items() if name != "mmsc"}
    best = max(baselines, key=lambda name: baselines[name] or 0.0, default=None)
    beside = f", best baseline {best} {baselines[best] or 0.0:.3f}" if best else ""
    asked = counted(figures["mmsc"]["queries"], "held-out query")
    return f"NDCG@10 {figures['mmsc']['ndcg@10']:.3f} on {asked}{beside}"


def _example(session: Session) -> tuple[str, list[str]]:
    """An item that is well supported in both relations, and lines with its best answer in each."""
    from mmsc_cli.infer.example import choose_example  # noqa: PLC0415  brings numpy
    from mmsc_cli.infer.recommender import Recommender  # noqa: PLC0415  brings numpy

    recommender = Recommender.open(session.directory, exact=True)
    item, answers = choose_example(recommender)
    lines = [f"for example {_named(item, recommender.title(item))}:"]
    return item, [*lines, *(f"  {answer.relation}: {_named(answer.item, answer.title)}" for answer in answers)]


def _named(item_id: str, title: str) -> str:
    return f"{item_id} ({title})" if title else item_id
