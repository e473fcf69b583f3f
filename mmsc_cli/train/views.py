"""Masked views: what a training epoch lets the model see, and what it must predict from that.

Every epoch cuts the training pairs into two random halves. View one propagates over the first half and must predict
the second, view two the reverse; so each pair is predicted, and never from itself. A share of the items plays cold:
their pairs are in neither view and their item vectors are hidden, as for a new item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.model.behaviour import Surroundings
from mmsc_cli.model.graph import Graph, symmetric_graph
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.pairs import TrainingPairs


@dataclass(frozen=True)
class View:
    """What is seen, what is to be predicted (weights), and what is neither (the pairs seen), per relation."""

    around: Surroundings
    targets: dict[Relation, sparse.csr_array[Any]]
    hidden: dict[Relation, sparse.csr_array[Any]]


def surroundings(
    pairs: TrainingPairs, weight: torch.Tensor, visible: torch.Tensor, shown: torch.Tensor, similar: Graph
) -> Surroundings:
    """Graphs over the visible pairs.

    Args:
        pairs: all training pairs.
        weight: (pairs, 2) how much each counts in each relation; 0 where it does not hold.
        visible: (pairs,) bool.
        shown: (items, 1) float, whose item vector may be used.
        similar: the semantic neighbour graph.
    """
    items = len(shown)
    graphs, degrees = [], []
    for column in range(len(RELATIONS)):
        keep = visible & (weight[:, column] > 0)
        a, b = pairs.a[keep], pairs.b[keep]
        graphs.append(symmetric_graph(a, b, weight[keep, column], items))
        degrees.append(torch.bincount(torch.cat([a, b]), minlength=items))
    return Surroundings(graphs[0], graphs[1], similar, torch.stack(degrees, dim=1), shown)


def masked_views(
    pairs: TrainingPairs,
    weight: torch.Tensor,
    target_weight: torch.Tensor,
    has_behaviour: torch.Tensor,
    similar: Graph,
    play_cold: float,
    generator: torch.Generator,
) -> tuple[View, View]:
    """Draw the two views of an epoch.

    Args:
        pairs: training pairs.
        weight: (pairs, 2) weights for propagation.
        target_weight: (pairs, 2) weights for prediction.
        has_behaviour: (items,) bool, items with any training pair.
        similar: the semantic neighbour graph.
        play_cold: share of items that play cold.
        generator: the random stream.
    """
    device = pairs.a.device
    items = len(has_behaviour)
    cold = (torch.rand(items, generator=generator) < play_cold).to(device)
    first_half = (torch.rand(len(pairs), generator=generator) < 0.5).to(device)
    usable = ~(cold[pairs.a] | cold[pairs.b])
    shown = (has_behaviour & ~cold).float().unsqueeze(1)
    views = []
    for visible in (usable & first_half, usable & ~first_half):
        around = surroundings(pairs, weight, visible, shown, similar)
        targets = {name: _matrix(pairs, target_weight[:, i], ~visible, items) for i, name in enumerate(RELATIONS)}
        hidden = {name: _matrix(pairs, target_weight[:, i], visible, items) for i, name in enumerate(RELATIONS)}
        views.append(View(around, targets, hidden))
    return views[0], views[1]


def _matrix(pairs: TrainingPairs, weight: torch.Tensor, mask: torch.Tensor, items: int) -> sparse.csr_array[Any]:
    keep = mask & (weight > 0)
    a, b, values = (tensor[keep].cpu().numpy() for tensor in (pairs.a, pairs.b, weight))
    return symmetric_matrix(a, b, values, items)
