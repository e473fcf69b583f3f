"""The report: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsc_cli.atomic import atomic_write
from mmsc_cli.evaluate.gallery import Exhibit
from mmsc_cli.evaluate.gate import MODEL
from mmsc_cli.evaluate.protocol import SLICES
from mmsc_cli.metrics import FIGURES
from mmsc_cli.relations import RELATIONS


def render_report(result: Mapping[str, Any], gallery: Sequence[Exhibit] = (), title: str = "mmsc evaluate") -> str:
    """Render the result of `evaluate` as one HTML page that fetches nothing and runs no script."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mmsc_cli.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    environment.filters["percent"] = lambda value: f"{100 * value:.2f}%"
    environment.globals["scale"] = _bar_scale
    return environment.get_template("report.html.j2").render(
        title=title,
        result=result,
        gallery=gallery,
        model=MODEL,
        relations=RELATIONS,
        slices=SLICES,
        figures=FIGURES,
    )


def write_report(
    path: Path, result: Mapping[str, Any], gallery: Sequence[Exhibit] = (), title: str = "mmsc evaluate"
) -> None:
    """Write the report, atomically."""
    with atomic_write(path) as file:
        file.write(render_report(result, gallery, title).encode())


def _figure(value: float | None, sign: bool = False) -> str:
    """Three decimals, or a dash where there is no query."""
    if value is None:
        return "–"
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def _bar_scale(models: Mapping[str, Any], relation: str, part: str) -> float:
    """The NDCG@10 of a full-width bar: the highest upper end of an interval, rounded up to a tenth."""
    highest = max((model[relation][part]["ndcg@10_ci"] or (0, 0))[1] for model in models.values())
    return float(max(0.1, -(-highest * 10 // 1) / 10))
