"""The report: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsc_cli.evaluate.protocol import MODEL, SLICES
from mmsc_cli.evaluate.report import charts
from mmsc_cli.evaluate.report.charts import DASHES, Chart, Series, line_chart
from mmsc_cli.evaluate.report.gallery import Exhibit
from mmsc_cli.evaluate.report.verdict import percent, verdict
from mmsc_cli.metrics.retrieval import FIGURES
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.runtime.visible import shown
from mmsc_cli.tables.relations import RELATIONS, Relation

# Baselines shown beside the model, the best first; the tables have them all.
BASELINES_SHOWN = 3
COLOURS = 17  # of the style sheet: one for each system there is
_DEFAULT_TITLE = "mmsc evaluate"


def render_report(
    result: Mapping[str, Any],
    gallery: Sequence[Exhibit] = (),
    history: Sequence[Mapping[str, float]] = (),
    title: str = _DEFAULT_TITLE,
    facts: Mapping[str, str] | None = None,
    student: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> str:
    """Render the result of `evaluate` as one HTML page that fetches nothing and runs no script.

    Args:
        result: what `evaluate` returns.
        gallery: queries to show.
        history: loss and validation figures of each epoch of the model's training.
        title: of the page.
        facts: what the model was made of, by name.
        student: what training measured of the student of labels.
        warnings: what is doubtful about the data.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  only a report needs it

    environment = Environment(
        loader=PackageLoader("mmsc_cli.evaluate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        # What autoescape has made already is of another type.
        finalize=lambda value: shown(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    environment.filters["width"] = lambda value: f"{100 * value:.2f}%"
    environment.filters["share"] = lambda value: "–" if value is None else f"{100 * value:.0f} %"
    environment.filters["gain"] = percent
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    environment.filters["counted"] = counted
    environment.filters["span"] = _span
    # The first, which is the model's, is unbroken; the others take turns.
    environment.filters["dash"] = lambda number: DASHES[number and 1 + (number - 1) % (len(DASHES) - 1)]
    models = result["models"]
    ranked = {relation: {part: _best_first(models, relation, part) for part in SLICES} for relation in RELATIONS}
    in_pictures = dict.fromkeys(name for parts in ranked.values() for names in parts.values() for name in names)
    return environment.get_template("report.html.j2").render(
        title=title,
        result=result,
        verdict=verdict(result),
        facts=facts or {},
        warnings=warnings,
        night=result.get("night"),
        gallery=gallery,
        pictured=any(card.image for exhibit in gallery for card in exhibit.cards()),
        history=history,
        student=student,
        following_charts=_following_charts(result.get("following")),
        training_charts=_training_charts(history),
        degree_charts={relation: _degree_chart(result, relation) for relation in RELATIONS},
        shown=ranked,
        full=_bar_scale(models),
        colour={name: number % COLOURS for number, name in enumerate(in_pictures)},
        colours=COLOURS,
        tuned=_tuned(models),
        model=MODEL,
        relations=list(result["lists"]["relations"]) or RELATIONS,
        slices=SLICES,
        figures=FIGURES,
        axes=charts,
    )


def write_report(path: Path, page: str) -> None:
    """Write the report, atomically."""
    with atomic_write(path) as file:
        file.write(page.encode())


def _figure(value: float | None, sign: bool = False) -> str:
    """Three decimals, or a dash where there is no query."""
    if value is None:
        return "–"
    return f"{value:+.3f}".replace("-", "−") if sign else f"{value:.3f}"


def _span(degrees: Mapping[str, Any]) -> str:
    """A bin of degrees as a reader writes it."""
    low, high = degrees["low"], degrees["high"]
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}–{high}"


def _best_first(models: Mapping[str, Any], relation: Relation, part: str) -> list[str]:
    """The model, and the best baselines of a slice."""
    rivals = [name for name in models if name != MODEL]
    rivals.sort(key=lambda name: -(models[name][relation][part]["ndcg@10"] or 0))
    return [MODEL, *rivals[:BASELINES_SHOWN]]


def _bar_scale(models: Mapping[str, Any]) -> float:
    """The NDCG@10 of a full-width bar, one for all: the highest upper end of an interval, rounded up to a tenth."""
    ends = [
        (model[relation][part]["ndcg@10_ci"] or (0, 0))[1]
        for model in models.values()
        for relation in RELATIONS
        for part in SLICES
    ]
    return float(max(0.1, -(-max(ends) * 10 // 1) / 10))


def _tuned(models: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """How the settings of each baseline were chosen, where there was a choice."""
    chosen = {
        name: {relation: tuning for relation, tuning in block.get("tuning", {}).items() if tuning["grid"]}
        for name, block in models.items()
    }
    return {name: tuning for name, tuning in chosen.items() if tuning}


def _degree_chart(result: Mapping[str, Any], relation: Relation) -> Chart:
    """NDCG@10 by degree, of the model and of the best baselines of the slice."""
    degrees = result["by_degree"]
    names = _best_first(result["models"], relation, degrees["slice"])
    bins = {name: degrees["models"][name][relation] for name in names}
    series = [
        # Intervals of the model alone: those of several lines would hide each other.
        Series(name, [row["ndcg@10"] for row in rows], [row["ndcg@10_ci"] for row in rows] if name == MODEL else ())
        for name, rows in bins.items()
    ]
    description = f"NDCG@10 of {relation} queries by their number of training pairs"
    return line_chart(
        description, f"training {relation} pairs of the query", [_span(row) for row in bins[MODEL]], series
    )


def _following_charts(following: Mapping[str, Any] | None) -> dict[str, Chart]:
    """NDCG@10 of each relation against the weight of the student; none without one."""
    if following is None:
        return {}
    ticks = [f"{weight:g}" for weight in following["weights"]]
    return {
        relation: line_chart(
            f"NDCG@10 of {relation} queries by how far the student is followed",
            "weight of the student",
            ticks,
            [Series(name.replace("_", ", "), values) for name, values in lines.items() if any(values)],
        )
        for relation, lines in following["ndcg@10"].items()
        if any(any(values) for values in lines.values())
    }


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
