"""The report: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsc_cli.evaluate.gates import MODEL
from mmsc_cli.evaluate.protocol import SLICES
from mmsc_cli.evaluate.report import charts
from mmsc_cli.evaluate.report.charts import Chart, Series, line_chart
from mmsc_cli.evaluate.report.gallery import Exhibit
from mmsc_cli.metrics.retrieval import FIGURES
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.tables.relations import RELATIONS, Relation

# Baselines beside the model in the chart of quality against degree, the best first.
_BASELINES_IN_CHART = 3
_DEFAULT_TITLE = "mmsc evaluate"


def render_report(
    result: Mapping[str, Any],
    gallery: Sequence[Exhibit] = (),
    history: Sequence[Mapping[str, float]] = (),
    title: str = _DEFAULT_TITLE,
) -> str:
    """Render the result of `evaluate` as one HTML page that fetches nothing and runs no script.

    Args:
        result: what `evaluate` returns.
        gallery: queries to show.
        history: loss and validation figures of each epoch of the model's training.
        title: of the page.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  only a report needs it

    environment = Environment(
        loader=PackageLoader("mmsc_cli.evaluate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    environment.filters["percent"] = lambda value: f"{100 * value:.2f}%"
    environment.filters["span"] = _span
    environment.globals["scale"] = _bar_scale
    return environment.get_template("report.html.j2").render(
        title=title,
        result=result,
        gallery=gallery,
        pictured=any(_has_image(exhibit) for exhibit in gallery),
        history=history,
        training_charts=_training_charts(history),
        degree_charts={relation: _degree_chart(result, relation) for relation in RELATIONS},
        tuned=_tuned(result["models"]),
        model=MODEL,
        relations=RELATIONS,
        slices=SLICES,
        figures=FIGURES,
        axes=charts,
    )


def write_report(
    path: Path,
    result: Mapping[str, Any],
    gallery: Sequence[Exhibit] = (),
    history: Sequence[Mapping[str, float]] = (),
    title: str = _DEFAULT_TITLE,
) -> None:
    """Write the report, atomically."""
    with atomic_write(path) as file:
        file.write(render_report(result, gallery, history, title).encode())


def _figure(value: float | None, sign: bool = False) -> str:
    """Three decimals, or a dash where there is no query."""
    if value is None:
        return "–"
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def _span(bin_: Mapping[str, Any]) -> str:
    """A bin of degrees as a reader writes it."""
    low, high = bin_["low"], bin_["high"]
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}–{high}"


def _bar_scale(models: Mapping[str, Any], relation: str, part: str) -> float:
    """The NDCG@10 of a full-width bar: the highest upper end of an interval, rounded up to a tenth."""
    highest = max((model[relation][part]["ndcg@10_ci"] or (0, 0))[1] for model in models.values())
    return float(max(0.1, -(-highest * 10 // 1) / 10))


def _has_image(exhibit: Exhibit) -> bool:
    shown = (card for answers in exhibit.relations for card in (*answers.true, *answers.answers))
    return any(card.image for card in (exhibit.query, *shown))


def _tuned(models: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """How the settings of each baseline were chosen, where there was a choice."""
    chosen = {
        name: {relation: tuning for relation, tuning in block.get("tuning", {}).items() if tuning["grid"]}
        for name, block in models.items()
    }
    return {name: tuning for name, tuning in chosen.items() if tuning}


def _degree_chart(result: Mapping[str, Any], relation: Relation) -> Chart:
    """NDCG@10 by degree, of the model and of the best baselines of the slice."""
    models, degrees = result["models"], result["by_degree"]
    part = degrees["slice"]
    rivals = sorted(
        (name for name in models if name != MODEL), key=lambda name: -(models[name][relation][part]["ndcg@10"] or 0)
    )
    bins = {name: degrees["models"][name][relation] for name in (MODEL, *rivals[:_BASELINES_IN_CHART])}
    series = [
        # Intervals of the model alone: those of four lines would hide each other.
        Series(name, [row["ndcg@10"] for row in rows], [row["ndcg@10_ci"] for row in rows] if name == MODEL else ())
        for name, rows in bins.items()
    ]
    description = f"NDCG@10 of {relation} queries by their number of training pairs"
    return line_chart(
        description, f"training {relation} pairs of the query", [_span(row) for row in bins[MODEL]], series
    )


def _training_charts(history: Sequence[Mapping[str, float]]) -> dict[str, Chart]:
    """Loss, and validation figures, against epochs; none where there is no history."""
    if not history:
        return {}
    epochs = [f"{epoch['epoch']:.0f}" for epoch in history]
    loss = [Series("loss", [epoch["loss"] for epoch in history])]
    names = [name for name in history[0] if name not in ("epoch", "loss", "seconds", "ndcg@10")]
    valid = [Series(name.replace("_", ", "), [epoch.get(name) for epoch in history]) for name in sorted(names)]
    return {
        "Loss": line_chart("training loss by epoch", "epoch", epochs, loss),
        "NDCG@10 on validation": line_chart("NDCG@10 on the validation split by epoch", "epoch", epochs, valid),
    }
