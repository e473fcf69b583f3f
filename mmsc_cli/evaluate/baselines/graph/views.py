"""What a network sees of the training pairs: all of them, or what is left when some are hidden to be predicted."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from mmsc_cli.evaluate.context import FittingContext
from mmsc_cli.model.graph import Graph, symmetric_graph
from mmsc_cli.tables.relations import RELATIONS, Relation


class TrainingGraph:
    """The training pairs of a relation and of the other one; all tensors on one device."""

    def __init__(self, context: FittingContext, relation: Relation, device: torch.device) -> None:
        pairs = context.pairs
        self.items = context.items
        self.device = device
        self.a, self.b = (torch.from_numpy(end.astype(np.int64)).to(device) for end in (pairs.a, pairs.b))
        other = next(each for each in RELATIONS if each != relation)
        self.own, self.other = (torch.from_numpy(pairs.strength(each)).to(device) for each in (relation, other))
        self.touched = torch.zeros(self.items, dtype=torch.bool, device=device)
        self.touched[self.a] = self.touched[self.b] = True

    @property
    def candidates(self) -> torch.Tensor:
        """Rows of the items with any training pair: only they can be right, so only they are drawn as wrong."""
        return torch.nonzero(self.touched).squeeze(1)

    def whole(self) -> View:
        """All training pairs, to answer from."""
        return View(self, torch.ones_like(self.own, dtype=torch.bool), self.touched)

    def masked(self, hide: float, isolate: float, generator: torch.Generator) -> tuple[View, torch.Tensor]:
        """Hide pairs, of both relations at once, and play items as having none.

        Args:
            hide: share of the pairs to hide.
            isolate: share of the items all of whose pairs are hidden, and whose own vector is not shown.
            generator: of the random choices, on the CPU.

        Returns:
            What is left; and the pairs of the relation to be predicted, (2, pairs): the hidden ones, or all where
            nothing is hidden.
        """
        hidden = (torch.rand(len(self.a), generator=generator) < hide).to(self.device)
        isolated = (torch.rand(self.items, generator=generator) < isolate).to(self.device)
        hidden |= isolated[self.a] | isolated[self.b]
        wanted = (self.own > 0) & hidden
        if not bool(wanted.any()):
            wanted = self.own > 0
        return View(self, ~hidden, self.touched & ~isolated), torch.stack([self.a[wanted], self.b[wanted]])


class View:
    """The visible part of the training pairs as graphs, each built when a network first asks for it."""

    def __init__(self, pairs: TrainingGraph, visible: torch.Tensor, connected: torch.Tensor) -> None:
        """`visible`: which pairs, (pairs,) bool; `connected`: which items have any behaviour, (items,) bool."""
        self._pairs = pairs
        self._visible = visible
        self._connected = connected

    @cached_property
    def connected(self) -> torch.Tensor:
        """Shape (items, 1): 0 for the items without behaviour, true or played, whose own vector is not shown."""
        return self._connected.float().unsqueeze(1)

    @cached_property
    def own(self) -> Graph:
        """The relation to be answered, normalised by the square roots of both ends' degrees."""
        return self._symmetric(self._pairs.own)

    @cached_property
    def other(self) -> Graph:
        """The other relation, normalised likewise."""
        return self._symmetric(self._pairs.other)

    @cached_property
    def own_mean(self) -> Graph:
        """The relation to be answered, the weights of each item's neighbours summing to one."""
        weight = 1 / self.own.degree[self.own.row].float()
        return Graph(self.own.start, self.own.column, weight, self.own.items, symmetric=False)

    def _symmetric(self, strength: torch.Tensor) -> Graph:
        kept = self._visible & (strength > 0)
        return symmetric_graph(self._pairs.a[kept], self._pairs.b[kept], strength[kept], self._pairs.items)
