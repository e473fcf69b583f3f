"""The ideas of SComGNN: partners are alike in the graph's low frequencies and differ in its middle ones.

Source: Luo et al., "Spectral-Based Graph Neural Networks for Complementary Item Recommendation", AAAI 2024 (arXiv
2401.02130); written from the paper's ideas, not from its code. With A the normalised adjacency and x an eigenvalue of
the Laplacian I - A, from 0 (smooth) to 2 (alternating), the two filters, both two hops wide, are
    low pass  ((I + A) / 2)²      with the response (1 - x / 2)², greatest at 0,
    mid pass  (I - A) (I + A)     with the response x (2 - x), greatest at 1, nothing at either end.
"""

from __future__ import annotations

import torch
from torch import nn

from mmsc_cli.evaluate.baselines.graph.content import Content
from mmsc_cli.evaluate.baselines.graph.views import View
from mmsc_cli.model.graph import Graph


class ScomGnn(nn.Module):
    """Both components of an item's content, mixed by attention over the two."""

    def __init__(self, content: Content, dim: int) -> None:
        super().__init__()
        self.content = content
        self.low, self.middle = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.attention = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))

    def forward(self, view: View) -> tuple[torch.Tensor, torch.Tensor]:
        """Query and key vectors, the same, each (items, dim)."""
        low, middle = filters(view.own, self.content(view))
        seen = torch.stack([self.low(low), self.middle(middle)], dim=1)
        mixed = (torch.softmax(self.attention(seen), dim=1) * seen).sum(dim=1)
        return mixed, mixed


def filters(graph: Graph, signal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Low-pass and mid-pass components of signals (items, dim), from the same two products with the graph."""
    once = graph.propagate(signal)
    twice = graph.propagate(once)
    return (signal + 2 * once + twice) / 4, signal - twice
