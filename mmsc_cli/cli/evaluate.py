"""`mmsc evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mmsc_cli.cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "evaluate",
        "mmsc evaluate --json | jq .models.mmsc; mmsc evaluate --fail-under 'substitute.all.ndcg@10>=0.5'",
    )
    def evaluate_command(
        session: Session,
        baselines: Annotated[str | None, typer.Option(metavar="all|none|A,B", help="Baselines beside it.")] = None,
        ablate: Annotated[
            str | None,
            typer.Option(metavar="PART,...", help="Retrain without each of these parts and compare."),
        ] = None,
        seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Retrain from so many seeds (1: do not).")] = 1,
        report: Annotated[Path | None, typer.Option(metavar="FILE", help="Where else to put the HTML report.")] = None,
        fail_under: Annotated[
            str | None,
            typer.Option(metavar="EXPR", help="Exit 1 unless it holds: substitute.all.ndcg@10>=0.5"),
        ] = None,
    ) -> None:
        """Judge the model by the whole-catalogue protocol, beside baselines that saw the same data."""
        from mmsc_cli.evaluate.gate import check_gates, parse_gates
        from mmsc_cli.pipeline import run_evaluate

        recipe = session.recipe({"evaluate.baselines": baselines})
        gates = parse_gates(fail_under) if fail_under else []
        result = run_evaluate(
            session.workspace,
            recipe,
            parts=[part.strip() for part in ablate.split(",")] if ablate else [],
            seeds=seeds,
            report=report,
            device=session.device,
            progress=session.progress,
        )
        if session.out.as_json:
            session.out.write(json.dumps(result, ensure_ascii=False) + "\n")
        else:
            session.out.table(
                ("model", "relation", "slice", "queries", "hit@10", "ndcg@10", "ndcg@10_ci"), _rows(result)
            )
            for row in _ablation_rows(result):
                session.out.note(row)
        session.out.note(f"report: {report or session.workspace.path('report.html')}")
        check_gates(gates, result["models"])


def _rows(result: dict[str, dict[str, dict[str, dict[str, dict[str, object]]]]]) -> list[list[object]]:
    rows = []
    for model, relations in result["models"].items():
        for relation, slices in relations.items():
            if relation == "seconds":
                continue
            for part, figures in slices.items():
                interval = figures["ndcg@10_ci"]
                shown = "–" if not isinstance(interval, list) else f"{interval[0]:.3f}–{interval[1]:.3f}"
                cells = ["–" if figures[name] is None else figures[name] for name in ("queries", "hit@10", "ndcg@10")]
                rows.append([model, relation, part, *cells, shown])
    return rows


def _ablation_rows(
    result: dict[str, dict[str, dict[str, dict[str, dict[str, dict[str, object]]]]]],
) -> list[str]:
    lines = []
    for part, relations in result.get("ablation", {}).get("parts", {}).items():
        for relation, slices in relations.items():
            lines += [f"{part} {found['verdict']} ({relation}: {found['difference_ci']})" for found in slices.values()]
    return lines
