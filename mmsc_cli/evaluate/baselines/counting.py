"""Baselines that count: an item's pairs, shared categories, shared neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows, every
from mmsc_cli.linear.resource_allocation import ResourceAllocation

RESOURCE_ALLOCATION_GRID = every(strengths=(False, True))


def fit_popularity(task: FittingTask) -> ScoreRows:
    """Score every item by its number of pairs in the relation."""
    degree = task.degree().astype(np.float32)
    return lambda queries: np.broadcast_to(degree, (len(queries), len(degree)))


def fit_category_popularity(task: FittingTask) -> ScoreRows:
    """Score by the depth of the category path shared with the query; popularity decides between equals."""
    degree = task.degree()
    popularity = (degree / (1 + degree.max(initial=0))).astype(np.float32)
    prefixes = _prefix_ids(task.context.category)

    def rows(queries: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = np.tile(popularity, (len(queries), 1))
        for level in prefixes:
            of_query = level[queries, None]
            scores += (level == of_query) & (of_query >= 0)
        return scores

    return rows


def fit_common_neighbours(task: FittingTask) -> ScoreRows:
    """Score by the number of neighbours shared with the query."""
    adjacency = task.adjacency(strengths=False)
    return lambda queries: (adjacency[queries] @ adjacency).toarray().astype(np.float32, copy=False)


def fit_resource_allocation(task: FittingTask, *, strengths: bool) -> ScoreRows:
    """Score by shared neighbours, rarer ones counting more (`mmsc_cli.linear.resource_allocation`)."""
    model = ResourceAllocation(task.adjacency(strengths=strengths))
    return lambda queries: model.rows(queries).toarray().astype(np.float32, copy=False)


def _prefix_ids(category: Sequence[Sequence[str]]) -> NDArray[np.int32]:
    """Number the paths from the root to every level; shape (levels, items), -1 where a path is shorter."""
    levels = max((len(path) for path in category), default=0)
    ids = np.full((levels, len(category)), -1, np.int32)
    numbers: dict[tuple[str, ...], int] = {}
    for item_row, path in enumerate(category):
        for level in range(len(path)):
            ids[level, item_row] = numbers.setdefault(tuple(path[: level + 1]), len(numbers))
    return ids
