"""Baselines that know the training pairs of the relation and nothing else."""

from __future__ import annotations

import numpy as np

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.baselines.scorer import ScoreRows
from mmsc_cli.evaluate.context import FittingContext
from mmsc_cli.linear.ease import Ease
from mmsc_cli.linear.resource_allocation import ResourceAllocation
from mmsc_cli.relations import Relation

EASE_ITEMS = 30_000


def fit_common_neighbours(context: FittingContext, relation: Relation) -> ScoreRows:
    """Score by the number of neighbours shared with the query."""
    adjacency = context.pairs.adjacency(relation, context.items, weighted=False)
    return lambda queries: (adjacency[queries] @ adjacency).toarray().astype(np.float32, copy=False)


def fit_resource_allocation(context: FittingContext, relation: Relation) -> ScoreRows:
    """Score by shared neighbours, rarer ones counting more (`mmsc_cli.linear.resource_allocation`)."""
    model = ResourceAllocation(context.pairs.adjacency(relation, context.items, weighted=False))
    return lambda queries: model.rows(queries).toarray().astype(np.float32, copy=False)


def fit_ease(context: FittingContext, relation: Relation) -> ScoreRows:
    """EASE on pair strengths (`mmsc_cli.linear.ease`)."""
    return Ease(context.pairs.adjacency(relation, context.items)).rows


def check_ease(context: FittingContext) -> None:
    """Refuse a catalogue whose item-to-item matrix would not fit.

    Raises:
        InputError: there are more than EASE_ITEMS items.
    """
    if context.items > EASE_ITEMS:
        raise InputError(
            f"baseline ease inverts a dense matrix: at most {EASE_ITEMS:,} items, not {context.items:,}",
            hint="leave ease out of --baselines",
        )
