"""Line charts as coordinates: what stands where, ready for the report's template to draw as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 420, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 412, 12, 206
_MOST_X_LABELS = 10
# Lines are told apart by dash and mark, not by colour alone.
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4")
MARKS = (
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",  # disc
    "M-3 -3h6v6h-6z",  # square
    "M0 -4l4 7h-8z",  # triangle
    "M0 -4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z",  # diamond
    "M-3.5 -1h7v2h-7z",  # bar
)


@dataclass(frozen=True)
class Series:
    """One line: a value per tick of the x axis, None where there is none; `intervals` as wide, or empty."""

    name: str
    values: Sequence[float | None]
    intervals: Sequence[Sequence[float] | None] = ()


@dataclass(frozen=True)
class Whisker:
    """A vertical interval in SVG coordinates."""

    x: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Line:
    """A drawn series; `runs` are its unbroken stretches as SVG `points`."""

    name: str
    dash: str
    mark: str
    runs: list[str]
    points: list[tuple[float, float]]
    whiskers: list[Whisker]


@dataclass(frozen=True)
class Chart:
    """A whole chart in SVG coordinates, WIDTH x HEIGHT; ticks are (position, text)."""

    about: str
    x_name: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    bottom: int = _BOTTOM


def line_chart(about: str, x_name: str, ticks: Sequence[str], series: Sequence[Series]) -> Chart:
    """Lay out lines over a shared x axis of named ticks.

    The y axis starts at 0 unless all values lie in the upper half of their range, and ends above the highest value or
    interval.

    Args:
        about: what the chart shows, for those who cannot see it.
    """
    heights = [value for line in series for value in line.values if value is not None]
    heights += [end for line in series for interval in line.intervals if interval for end in interval]
    y_ticks = _nice_ticks(min(heights, default=0.0), max(heights, default=1.0))
    low, high = y_ticks[0], y_ticks[-1]

    def x(place: int) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (place + 0.5) / max(1, len(ticks)), 1)

    def y(value: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low), 1)

    lines = []
    for number, line in enumerate(series):
        points = [(x(place), y(value)) for place, value in enumerate(line.values) if value is not None]
        whiskers = [
            Whisker(x(place), y(interval[1]), y(interval[0]))
            for place, interval in enumerate(line.intervals)
            if interval
        ]
        style = number % len(DASHES)
        lines.append(Line(line.name, DASHES[style], MARKS[style], _runs(line.values, x, y), points, whiskers))
    step = math.ceil(len(ticks) / _MOST_X_LABELS)
    x_ticks = [(x(place), text) for place, text in enumerate(ticks) if place % step == 0]
    decimals = max(0, 1 - math.floor(math.log10(y_ticks[1] - y_ticks[0]) + 1e-9) - 1)
    return Chart(about, x_name, x_ticks, [(y(value), f"{value:.{decimals}f}") for value in y_ticks], lines)


def _runs(values: Sequence[float | None], x: Callable[[int], float], y: Callable[[float], float]) -> list[str]:
    runs: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{x(place)},{y(value)}")
    return [" ".join(run) for run in runs if len(run) > 1]


def _nice_ticks(low: float, high: float) -> list[float]:
    """Some five ticks of a round step that enclose the values."""
    if low > high / 2:
        span = max(high - low, abs(high) * 0.1)
    else:
        low, span = min(0.0, low), high - min(0.0, low)
    span = span or 1.0
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(step * place, 10) for place in range(first, last + 1)]
