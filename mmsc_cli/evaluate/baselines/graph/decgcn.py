"""The ideas of DecGCN: each relation has a vector space of its own, and the two inform one another.

Source: Liu et al., "Decoupled Graph Convolution Network for Inferring Substitutable and Complementary Items", CIKM
2020; written from the paper's ideas, not from its code. Three views of an item are mixed by attention: its vector in
this space propagated over this relation's graph; the same over the other relation's graph (integrating structures, in
the paper's words); and its vector in the other space, translated into this one (integrating semantics).
"""

from __future__ import annotations

import torch
from torch import nn

from mmsc_cli.evaluate.baselines.graph.content import Content
from mmsc_cli.evaluate.baselines.graph.views import View
from mmsc_cli.model.graph import Graph


class DecGcn(nn.Module):
    """Two spaces; only that of the relation to be answered is read off in the end."""

    def __init__(self, own: Content, other: Content, dim: int, layers: int) -> None:
        super().__init__()
        self.own, self.other = own, other
        self.layers = layers
        self.translate = nn.Linear(dim, dim, bias=False)
        self.attention = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))

    def forward(self, view: View) -> tuple[torch.Tensor, torch.Tensor]:
        """Query and key vectors, the same, each (items, dim)."""
        own, other = self.own(view), self.other(view)
        seen = torch.stack(
            [
                self._propagate(own, view.own),
                self._propagate(own, view.other),
                self.translate(self._propagate(other, view.other)),
            ],
            dim=1,
        )
        mixed = (torch.softmax(self.attention(seen), dim=1) * seen).sum(dim=1)
        return mixed, mixed

    def _propagate(self, start: torch.Tensor, graph: Graph) -> torch.Tensor:
        """Mean of the vectors after 0 .. `layers` hops, as in LightGCN."""
        hop = total = start
        for _ in range(self.layers):
            hop = graph.propagate(hop)
            total = total + hop
        return total / (1 + self.layers)
