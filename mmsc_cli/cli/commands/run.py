"""`mmsc run`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from mmsc_cli.cli.commands.prepare import describe_counts
from mmsc_cli.cli.options import InputsOption, Session, command
from mmsc_cli.recipe.shipped import recipe_path
from mmsc_cli.tables.relations import RELATIONS


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "run",
        "mmsc run demo",
        "mmsc run amazon-beauty --input meta_Beauty.json.gz",
        "mmsc run shop.toml --no-label",
    )
    def run_command(
        session: Session,
        source: Annotated[str, typer.Argument(help="Name or path of a recipe.")],
        inputs: InputsOption = None,
        images: Annotated[
            bool | None,
            typer.Option("--images/--no-images", help="Download the images that items name by URL."),
        ] = None,
        label: Annotated[
            bool | None,
            typer.Option("--label/--no-label", help="Label pairs; default: if the recipe has a table [label]."),
        ] = None,
    ) -> None:
        """Run all stages of a recipe, skipping what is up to date."""
        from mmsc_cli.pipeline import run_all  # noqa: PLC0415  brings torch
        from mmsc_cli.recipe.loading import load_recipe  # noqa: PLC0415  brings pydantic

        recipe = load_recipe(source, session.overrides, session.values({"images.download": images}))
        if label is None:
            label = "label" in recipe.model_fields_set
            if not label:
                session.out.note(
                    "label: skipped, as the recipe has no [label]; `mmsc label --model rules` needs no LLM"
                )
        done = run_all(
            session.workspace,
            recipe,
            inputs=inputs or [],
            recipe_directory=recipe_path(source).parent,
            label=label,
            device=session.device,
            progress=session.progress,
        )
        report = session.workspace.path("report.html")
        example, answers = _example(session)
        if session.out.as_json:
            value = {"workspace": str(session.directory), "stages": done, "report": str(report), "example": example}
            session.out.json(value)
        for line in (*_summary(session), *answers, f"report: {report}", f"next: `mmsc infer {example}`"):
            session.out.note(line)


def _summary(session: Session) -> Iterator[str]:
    """What was read and held out, and how well the model does on it."""
    counts = session.workspace.manifest().stages["prepare"].counts
    yield from describe_counts(counts)
    pairs, items = counts["pair_splits"], counts["item_splits"]
    yield (
        f"held out: {pairs['test']:,} pairs and {items['cold_test']:,} items for the test, "
        f"{pairs['valid']:,} and {items['cold_valid']:,} for validation"
    )
    models = json.loads(session.workspace.path("metrics.json").read_bytes())["models"]
    for relation in RELATIONS:
        figures = {name: slices[relation]["all"] for name, slices in models.items()}
        yield f"{relation}s: {_verdict(figures)}"


def _verdict(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The model beside the best baseline, on held-out pairs between warm items."""
    if not figures["mmsc"]["queries"]:
        return "no held-out pairs"
    baselines = {name: figure["ndcg@10"] for name, figure in figures.items() if name != "mmsc"}
    best = max(baselines, key=lambda name: baselines[name] or 0.0, default=None)
    beside = f", best baseline {best} {baselines[best] or 0.0:.3f}" if best else ""
    return f"NDCG@10 {figures['mmsc']['ndcg@10']:.3f} on {figures['mmsc']['queries']:,} held-out queries{beside}"


def _example(session: Session) -> tuple[str, list[str]]:
    """The item with the most known pairs, and lines with its best answer in each relation."""
    import numpy as np  # noqa: PLC0415  slow to import

    from mmsc_cli.infer.recommender import Recommender  # noqa: PLC0415  brings numpy

    recommender = Recommender.open(session.directory, exact=True)
    item = recommender.index.ids[int(np.diff(recommender.index.known.indptr).argmax())]
    (answers,) = recommender.answer([item], "both", 1)
    if isinstance(answers, Exception):
        raise answers
    lines = [f"for example {item} ({recommender.title(item)}):"]
    return item, [*lines, *(f"  {answer.relation}: {answer.item} ({answer.title})" for answer in answers)]
