"""Line charts as coordinates, for the report's template to draw as SVG in the page's own colours.

By hand rather than by a plotting library: the chart follows the reader's light or dark setting, and `evaluate` neither
needs 60 MB of packages nor a folder for a font cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 420, 180
LEFT, RIGHT, TOP, BOTTOM = 40, 412, 12, 146
_MOST_X_LABELS = 10
# Lines differ by dash, not by colour alone.
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4")


@dataclass(frozen=True)
class Series:
    """One line: a value per tick of the x axis, None where there is none; `intervals` of the same length, or empty."""

    name: str
    values: Sequence[float | None]
    intervals: Sequence[Sequence[float] | None] = ()


@dataclass(frozen=True)
class DrawnLine:
    """A series in SVG coordinates.

    Attributes:
        path: the `d` of an SVG path, interrupted where there is no value.
        points: (x, y) of each value.
        whiskers: (x, top, bottom) of each interval.
    """

    name: str
    path: str
    points: list[tuple[float, float]]
    whiskers: list[tuple[float, float, float]]


@dataclass(frozen=True)
class Chart:
    """A whole chart in SVG coordinates, WIDTH x HEIGHT; ticks are (position, text)."""

    description: str
    x_name: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[DrawnLine]


def line_chart(description: str, x_name: str, ticks: Sequence[str], series: Sequence[Series]) -> Chart:
    """Lay out lines over a shared x axis of named ticks; the y axis encloses all values and intervals.

    Args:
        description: what the chart shows, for readers who cannot see it.
        x_name: title of the x axis.
        ticks: names along the x axis.
        series: the lines.
    """
    heights = [value for line in series for value in line.values if value is not None]
    heights += [end for line in series for interval in line.intervals if interval for end in interval]
    y_ticks, decimals = _round_ticks(min(heights, default=0.0), max(heights, default=1.0))
    low, high = y_ticks[0], y_ticks[-1]
    xs = [round(LEFT + (RIGHT - LEFT) * (tick + 0.5) / len(ticks), 1) for tick in range(len(ticks))]

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)

    lines = []
    for line in series:
        points = [None if value is None else (x, y(value)) for x, value in zip(xs, line.values, strict=True)]
        path = "".join(
            f"{'L' if tick and points[tick - 1] else 'M'}{point[0]} {point[1]}"
            for tick, point in enumerate(points)
            if point
        )
        whiskers = [(x, y(ends[1]), y(ends[0])) for x, ends in zip(xs, line.intervals, strict=False) if ends]
        lines.append(DrawnLine(line.name, path, [point for point in points if point], whiskers))
    shown = range(0, len(ticks), math.ceil(len(ticks) / _MOST_X_LABELS) or 1)
    x_ticks = [(xs[tick], ticks[tick]) for tick in shown]
    return Chart(description, x_name, x_ticks, [(y(value), f"{value:.{decimals}f}") for value in y_ticks], lines)


def _round_ticks(low: float, high: float) -> tuple[list[float], int]:
    """About five ticks of a round step that enclose the values, and their decimals; from 0 unless all are far above."""
    low = low if low > high / 2 else min(low, 0.0)
    rough = max(high - low, abs(high) * 0.1) / 5 or 0.2
    power = math.floor(math.log10(rough))
    factor = next(factor for factor in (1, 2, 5, 10) if factor * 10.0**power >= rough * 0.999)
    step = factor * 10.0**power
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(step * tick, 10) for tick in range(first, last + 1)], max(0, -power - (factor == 10))
