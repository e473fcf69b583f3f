"""EASE as a baseline: exact where its dense matrix fits, column by column from nearby items where it does not."""

from __future__ import annotations

from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows
from mmsc_cli.linear.ease import Ease, with_self
from mmsc_cli.linear.neighbourhood_ease import NeighbourhoodEase

DENSE_ITEMS = 30_000
EASE_GRID = (
    {"regularisation": 30.0, "strengths": True},
    {"regularisation": 30.0, "strengths": False},
    {"regularisation": 10.0, "strengths": True},
    {"regularisation": 100.0, "strengths": True},
)


def fit_ease(task: FittingTask, *, regularisation: float, strengths: bool) -> ScoreRows:
    """EASE on the relation's training pairs.

    Args:
        task: on what.
        regularisation: L2 penalty on the weights.
        strengths: whether pairs count by their strength rather than all alike.
    """
    inputs = with_self(task.adjacency(strengths=strengths))
    with task.progress.task(task.label):
        if task.context.items <= DENSE_ITEMS:
            return Ease(inputs, regularisation).rows
        return NeighbourhoodEase(inputs, regularisation).rows
