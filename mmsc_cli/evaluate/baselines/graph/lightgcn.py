"""LightGCN: item vectors averaged over neighbourhoods, with nothing else to learn.

Source: He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020. There
the graph joins users and items; here it joins the items of a relation.
"""

from __future__ import annotations

import torch
from torch import nn

from mmsc_cli.evaluate.baselines.graph.views import View


class LightGcn(nn.Module):
    """The mean of an item's own vector and of its neighbourhood's after 1 .. `layers` hops."""

    def __init__(self, items: int, dim: int, layers: int) -> None:
        super().__init__()
        self.item = nn.Embedding(items, dim)
        nn.init.normal_(self.item.weight, std=0.1)
        self.layers = layers

    def forward(self, view: View) -> tuple[torch.Tensor, torch.Tensor]:
        """Query and key vectors, the same, each (items, dim)."""
        hop = self.item.weight
        total = hop
        for _ in range(self.layers):
            hop = view.own.propagate(hop)
            total = total + hop
        mean = total / (1 + self.layers)
        return mean, mean
