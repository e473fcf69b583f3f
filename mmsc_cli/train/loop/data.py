"""What the network learns from: training pairs, their weights, and the masked views of an epoch.

Every epoch cuts the training pairs into two random halves. View one propagates over the first half and must predict
the second, view two the reverse; so each pair is predicted, and never from itself. A fraction of the items plays cold:
their pairs are in neither view and their item vectors are hidden, as for a new item.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.model.behaviour import Surroundings
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.model.graph import Graph, symmetric_graph
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation


@dataclass(frozen=True)
class TrainingPairs:
    """Unordered training pairs as tensors: `a`, `b` (pairs,) int64; `strength` (pairs, 2) float32, by relation."""

    a: torch.Tensor
    b: torch.Tensor
    strength: torch.Tensor

    @classmethod
    def of(cls, pairs: Pairs) -> TrainingPairs:
        """All of `pairs`."""
        strength = np.stack([pairs.strength(relation) for relation in RELATIONS], axis=1)
        a, b = (torch.from_numpy(end.astype(np.int64)) for end in (pairs.a, pairs.b))
        return cls(a, b, torch.from_numpy(strength))

    def __len__(self) -> int:
        return len(self.a)

    def joined(self, others: TrainingPairs) -> TrainingPairs:
        """These pairs and `others` after them."""
        return TrainingPairs(
            *(torch.cat([getattr(self, name), getattr(others, name)]) for name in ("a", "b", "strength"))
        )

    def touched(self, n_items: int) -> torch.Tensor:
        """(n_items,) bool: items with any of these pairs."""
        has_pair = torch.zeros(n_items, dtype=torch.bool, device=self.a.device)
        has_pair[self.a] = True
        has_pair[self.b] = True
        return has_pair

    def to(self, device: torch.device) -> TrainingPairs:
        """The same on another device."""
        return TrainingPairs(self.a.to(device), self.b.to(device), self.strength.to(device))


@dataclass(frozen=True)
class Candidates:
    """`rows` (candidates,) of items, ascending and unique."""

    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def places(self, items: NDArray[Any]) -> NDArray[np.int64]:
        """The position of each item among the candidates, -1 of those that are none."""
        position = np.minimum(np.searchsorted(self.rows, items), len(self) - 1)
        return np.where(self.rows[position] == items, position, -1)

    def columns(self, matrix: sparse.csr_array[Any]) -> sparse.csr_array[Any]:
        """A sparse (n, items) matrix as (n, candidates); entries of other items are left out."""
        position = self.places(matrix.indices)
        kept = position >= 0
        pointers = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
        return sparse.csr_array((matrix.data[kept], position[kept], pointers), shape=(matrix.shape[0], len(self)))


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


# A catalogue of more items passes the semantic level in parts of so many.
PART = 32_768


@dataclass(frozen=True)
class Problem:
    """All that the loop needs, on one device; weights are (pairs, 2), by relation."""

    items: ItemFeatures
    pairs: TrainingPairs
    weight: torch.Tensor
    target_weight: torch.Tensor
    similar: Graph

    def to(self, device: torch.device) -> Problem:
        """The same on another device."""
        return Problem(
            self.items.to(device),
            self.pairs.to(device),
            self.weight.to(device),
            self.target_weight.to(device),
            self.similar.to(device),
        )

    @cached_property
    def has_behaviour(self) -> torch.Tensor:
        """(items,) bool: items with any training pair."""
        return self.pairs.touched(len(self.items))

    @cached_property
    def parts(self) -> list[ItemFeatures]:
        """The items in parts of PART rows."""
        return [self.items.part(start, start + PART) for start in range(0, len(self.items), PART)]

    @cached_property
    def candidates(self) -> Candidates:
        """What can be a target, and so a negative: items without any training pair are neither."""
        return Candidates(np.flatnonzero(self.has_behaviour.cpu().numpy()))

    def everything_seen(self) -> Surroundings:
        """The surroundings for answering: all training pairs visible."""
        visible = torch.ones(len(self.pairs), dtype=torch.bool, device=self.weight.device)
        shown = self.has_behaviour.float().unsqueeze(1)
        return surroundings(self.pairs, self.weight, visible, shown, self.similar)


def masked_views(problem: Problem, play_cold: float, generator: torch.Generator) -> tuple[View, View]:
    """Draw the two views of an epoch; a fraction `play_cold` of the items is in neither."""
    pairs, weight, targets_of = problem.pairs, problem.weight, problem.target_weight
    device = pairs.a.device
    n_items = len(problem.has_behaviour)
    cold = (torch.rand(n_items, generator=generator) < play_cold).to(device)
    first_half = (torch.rand(len(pairs), generator=generator) < 0.5).to(device)
    usable = ~(cold[pairs.a] | cold[pairs.b])
    shown = (problem.has_behaviour & ~cold).float().unsqueeze(1)
    views = []
    for visible in (usable & first_half, usable & ~first_half):
        around = surroundings(pairs, weight, visible, shown, problem.similar)
        targets, hidden = (
            {name: _matrix(pairs, targets_of[:, i], mask, n_items) for i, name in enumerate(RELATIONS)}
            for mask in (~visible, visible)
        )
        views.append(View(around, targets, hidden))
    return views[0], views[1]


def _matrix(pairs: TrainingPairs, weight: torch.Tensor, mask: torch.Tensor, items: int) -> sparse.csr_array[Any]:
    keep = mask & (weight > 0)
    a, b, values = (tensor[keep].cpu().numpy() for tensor in (pairs.a, pairs.b, weight))
    return symmetric_matrix(a, b, values, items)
