from __future__ import annotations

import pytest

from mmsc_cli.evaluate.report import charts
from mmsc_cli.evaluate.report.charts import Chart, Series, line_chart


def _chart(*values: float | None, intervals: tuple[tuple[float, float] | None, ...] = ()) -> Chart:
    ticks = [str(place) for place in range(len(values))]
    return line_chart("a line", "step", ticks, [Series("one", values, intervals)])


@pytest.mark.parametrize(
    "values", [(0.0, 0.74), (0.31, 0.33), (26.0, 18.4), (0.0, 0.0), (5.0, 5.0), (0.0004, 0.0009), (120.0, 9_000.0)]
)
def test_every_value_lies_within_the_axes_whatever_their_size(values: tuple[float, float]) -> None:
    chart = _chart(*values)
    for x, y in chart.lines[0].points:
        assert charts.LEFT < x < charts.RIGHT
        assert chart.y_ticks[-1][0] - 0.1 <= y <= chart.y_ticks[0][0] + 0.1
    assert 2 <= len(chart.y_ticks) <= 9
    texts = [text for _, text in chart.y_ticks]
    assert len(set(texts)) == len(texts), "ticks that read alike say nothing"


def test_intervals_lie_within_the_axes_too() -> None:
    chart = _chart(0.5, 0.6, intervals=((0.1, 0.97), None))
    ((_, top, bottom),) = chart.lines[0].whiskers
    assert chart.y_ticks[-1][0] <= top < bottom <= chart.y_ticks[0][0]


def test_a_line_is_broken_where_there_is_no_value() -> None:
    line = _chart(1.0, 2.0, None, 4.0, 5.0, None, 7.0).lines[0]
    assert [run.count("L") for run in line.path.split("M")[1:]] == [1, 1, 0]
    assert len(line.points) == 5, "a lonely value still has its mark"


def test_many_steps_leave_room_between_their_names() -> None:
    assert len(_chart(*[1.0] * 200).x_ticks) <= 10


def test_a_chart_without_values_can_be_drawn() -> None:
    chart = _chart(None, None)
    assert chart.lines[0].points == []
    assert len(chart.y_ticks) > 1
