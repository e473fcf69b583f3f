"""`mmsc evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mmsc_cli.cli.session import Session, command
from mmsc_cli.relations import RELATIONS

COLUMNS = ("model", "relation", "slice", "queries", "hit@10", "ndcg@10", "ndcg_low", "ndcg_high")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "evaluate",
        "mmsc evaluate --json | jq .models.mmsc",
        "mmsc evaluate --baselines all --ablate image,llm --seeds 3",
        "mmsc evaluate --fail-under 'substitute.all.ndcg@10>=0.5,complement.cold.hit@10>0.3'",
    )
    def evaluate_command(
        session: Session,
        baselines: Annotated[
            str | None,
            typer.Option(metavar="all|none|A,B", help="Baselines beside it (else the recipe's)."),
        ] = None,
        ablate: Annotated[
            str | None,
            typer.Option(
                metavar="PART,...", help="Retrain without each of these parts (see `mmsc train`) and compare."
            ),
        ] = None,
        seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Retrain from so many seeds (1: do not).")] = 1,
        report: Annotated[Path | None, typer.Option(metavar="FILE", help="Where else to put the HTML report.")] = None,
        fail_under: Annotated[
            str | None,
            typer.Option(metavar="EXPR", help="Exit 1 unless it holds, as substitute.all.ndcg@10>=0.5; commas: and."),
        ] = None,
    ) -> None:
        """Judge the model beside baselines that saw the same data.

        Ranks the whole catalogue for each held-out query; writes metrics.json and report.html.
        """
        from mmsc_cli.evaluate.baselines.registry import parse_baselines
        from mmsc_cli.evaluate.gate import check_gates, parse_gates
        from mmsc_cli.pipeline import run_evaluate

        chosen = baselines if baselines in (None, "all", "none") else list(parse_baselines(baselines).names)
        gates = parse_gates(fail_under) if fail_under else []
        result = run_evaluate(
            session.workspace,
            session.recipe({"evaluate.baselines": chosen}),
            parts=[part.strip() for part in ablate.split(",")] if ablate else [],
            seeds=seeds,
            report=report,
            device=session.device,
            progress=session.progress,
        )
        if session.out.as_json:
            session.out.json(result)
        else:
            session.out.table(COLUMNS, _figures(result["models"]))
        for line in _ablation(result.get("ablation", {})):
            session.out.note(line)
        session.out.note(f"report: {report or session.workspace.path('report.html')}")
        check_gates(gates, result["models"])


def _figures(models: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    for model, blocks in models.items():
        for relation in RELATIONS:
            for part, figures in blocks[relation].items():
                cells = [figures[name] for name in ("queries", "hit@10", "ndcg@10")]
                cells += figures["ndcg@10_ci"] or [None, None]
                rows.append([model, relation, part, *("-" if cell is None else cell for cell in cells)])
    return rows


def _ablation(ablation: Mapping[str, Any]) -> list[str]:
    """A line per part, relation and slice: what the part is worth in NDCG@10."""
    lines = []
    for part, relations in ablation.get("parts", {}).items():
        for relation, slices in relations.items():
            for name, found in slices.items():
                if found["difference"] is None:
                    lines.append(f"{part}: no queries in {relation}.{name}")
                    continue
                low, high = found["difference_ci"]
                worth = f"{found['difference']:+.4f} ({low:+.4f} to {high:+.4f})"
                lines.append(f"{part}: {found['verdict']} on {relation}.{name}, NDCG@10 with it {worth}")
    return lines
