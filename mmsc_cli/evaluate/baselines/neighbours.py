"""Baselines that count shared neighbours among the training pairs of the relation."""

from __future__ import annotations

import numpy as np

from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows, every
from mmsc_cli.linear.resource_allocation import ResourceAllocation

RESOURCE_ALLOCATION_GRID = every(strengths=(False, True))


def fit_common_neighbours(task: FittingTask) -> ScoreRows:
    """Score by the number of neighbours shared with the query."""
    adjacency = task.adjacency(strengths=False)
    return lambda queries: (adjacency[queries] @ adjacency).toarray().astype(np.float32, copy=False)


def fit_resource_allocation(task: FittingTask, *, strengths: bool) -> ScoreRows:
    """Score by shared neighbours, rarer ones counting more (`mmsc_cli.linear.resource_allocation`)."""
    model = ResourceAllocation(task.adjacency(strengths=strengths))
    return lambda queries: model.rows(queries).toarray().astype(np.float32, copy=False)
