"""`mmsc evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mmsc_cli.cli.options import Session, command
from mmsc_cli.tables.relations import RELATIONS

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
            typer.Option(metavar="all|none|A,B", help="Baselines to compare with; default: the recipe's."),
        ] = None,
        ablate: Annotated[
            str | None,
            typer.Option(
                metavar="PART,...", help="Retrain without each of these parts (see `mmsc train --help`) and compare."
            ),
        ] = None,
        seeds: Annotated[
            int, typer.Option(min=1, metavar="N", help="Number of seeds to retrain with (1: no retraining).")
        ] = 1,
        report: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the HTML report to FILE.")] = None,
        rules: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", help="Rules of the shop, of which the report counts the effects; default: the recipe's."
            ),
        ] = None,
        fail_under: Annotated[
            str | None,
            typer.Option(
                metavar="EXPR",
                help="Exit with 1 unless every condition holds, e.g. substitute.all.ndcg@10>=0.5; separate conditions "
                "with commas.",
            ),
        ] = None,
    ) -> None:
        """Compare the model with baselines trained on the same data.

        Ranks the whole catalogue for each held-out query; writes metrics.json, report.html and answers.parquet.
        """
        from mmsc_cli.evaluate.baselines.named import parse_baselines  # noqa: PLC0415  brings scipy
        from mmsc_cli.evaluate.fail_under import GRAMMAR, check_model  # noqa: PLC0415  brings pyarrow and scipy
        from mmsc_cli.evaluate.stage import run_evaluate  # noqa: PLC0415  brings torch
        from mmsc_cli.metrics.gates import parse_gates  # noqa: PLC0415  brings numpy
        from mmsc_cli.pipeline import other_stages  # noqa: PLC0415  brings pydantic

        chosen = baselines if baselines in (None, "all", "none") else list(parse_baselines(baselines))
        gates = [] if fail_under is None else parse_gates(fail_under, GRAMMAR)
        result = run_evaluate(
            session.workspace,
            session.recipe({"evaluate.baselines": chosen}),
            other_stages(rules),
            parts=[part.strip() for part in ablate.split(",")] if ablate else [],
            seeds=seeds,
            report=report,
            device=session.device,
            progress=session.progress,
        )
        if session.out.as_json:
            session.out.json(result)
        elif sys.stdout.isatty():
            session.out.write(_comparison(result))
        else:
            truth = result["truth"]["models"] if "truth" in result else {}
            session.out.table(COLUMNS, [*_figures(result["models"]), *_figures(truth)])
        for line in _truth(result["truth"]) if "truth" in result else []:
            session.out.note(line)
        for line in _ablation(result["ablation"]) if "ablation" in result else []:
            session.out.note(line)
        session.out.note(f"report: {report or session.workspace.path('report.html')}")
        check_model(gates, result["models"])


def _comparison(result: Mapping[str, Any]) -> str:
    """The model beside the best baseline of each slice, at most 80 columns wide; by itself if there is no baseline."""
    lines = []
    for relation in RELATIONS:
        gains = result["gains"].get(relation, {})
        figures = result["models"]["mmsc"][relation]
        if "truth" in result:
            figures = figures | result["truth"]["models"]["mmsc"][relation]
        headings = ("ndcg@10", "best baseline", "its", "gain", "95 %") if gains else ("ndcg@10", "", "", "", "95 %")
        lines.append(_columns(relation, *headings))
        for part, figure in figures.items():
            if not figure["queries"]:
                lines.append(_columns(part, "-", "no queries", "", "", ""))
                continue
            ndcg, gain = f"{figure['ndcg@10']:.3f}", gains.get(part)
            if gain is None:
                lines.append(_columns(part, ndcg, "", "", "", "{:.3f} {:.3f}".format(*figure["ndcg@10_ci"])))
                continue
            percent = ("", "")
            if gain["relative"] is not None:
                low, high = gain["relative_ci"]
                percent = f"{_percent(gain['relative'])} %", f"{_percent(low)} {_percent(high)}"
            lines.append(_columns(part, ndcg, gain["baseline"], f"{gain['ndcg@10']:.3f}", *percent))
        lines.append("")
    return "\n".join(lines)


def _percent(share: float) -> str:
    """A share in percent, with a sign; without decimals where it is so large that a column would overflow."""
    return f"{100 * share:+.1f}" if abs(share) < 10 else f"{100 * share:+.0f}"


def _columns(*cells: str) -> str:
    part, ndcg, baseline, its, gain, interval = cells
    return f"{part:<17}  {ndcg:>7}  {baseline:<19}  {its:>5}  {gain:>8}  {interval:>13}".rstrip()


def _figures(models: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    for model, blocks in models.items():
        for relation in RELATIONS:
            for part, figures in blocks[relation].items():
                cells = [figures[name] for name in ("queries", "hit@10", "ndcg@10")]
                cells += figures["ndcg@10_ci"] or [None, None]
                rows.append([model, relation, part, *("-" if cell is None else cell for cell in cells)])
    return rows


def _truth(truth: Mapping[str, Any]) -> list[str]:
    """A line per relation: what the reliabilities are worth."""
    if truth["reliability"] is None:
        return [f"truth: {truth['reliability_missing']}"]
    lines = []
    for relation, found in truth["reliability"].items():
        if found["auroc"] is None:
            lines.append(f"truth: {relation}: the training pairs are not of both kinds, true and noise")
            continue
        lines.append(
            f"truth: {relation}: reliabilities tell {found['pairs']['true']:,} true training pairs from "
            f"{found['pairs']['noise']:,} of noise with AUROC {found['auroc']:.3f} "
            f"(strength alone {found['auroc_strength']:.3f})"
        )
    return lines


def _ablation(ablation: Mapping[str, Any]) -> list[str]:
    """A line per part and relation: what the part is worth in NDCG@10; and one per part that was not tested."""
    lines = [f"{part}: not tested: {reason}" for part, reason in ablation["not_tested"].items()]
    if ablation["parts"]:
        lines.append("what each part adds to NDCG@10, with its 95 % interval over queries and seeds:")
    for part, relations in ablation["parts"].items():
        if part == "llm":
            lines.append(f"llm: this is about labels by {ablation['annotator']}")
        for relation, slices in relations.items():
            verdicts = []
            for name, found in slices.items():
                if found["difference"] is None:
                    verdicts.append(f"no queries in {name}")
                    continue
                low, high = found["difference_ci"]
                verdicts.append(f"{found['verdict']} on {name} ({found['difference']:+.4f}, {low:+.4f} to {high:+.4f})")
            lines.append(f"{part}: {relation}: {'; '.join(verdicts)}")
    return lines
