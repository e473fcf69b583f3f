"""GraphSAGE: what an item says of itself, joined layer by layer with the mean of what its neighbours say.

Source: Hamilton, Ying, Leskovec, "Inductive Representation Learning on Large Graphs", NeurIPS 2017, mean
aggregator. Here without sampling: all neighbours count.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from mmsc_cli.evaluate.baselines.graph.content import Content, CosineReadout
from mmsc_cli.evaluate.baselines.graph.views import View


class GraphSage(nn.Module):
    """Layers of h = W h + V mean(h of the neighbours), with a ReLU between them."""

    def __init__(self, content: Content, dim: int, layers: int) -> None:
        super().__init__()
        self.content = content
        self.own = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.readout = CosineReadout()
        self.around = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(layers))

    def forward(self, view: View) -> tuple[torch.Tensor, torch.Tensor]:
        """Query and key vectors, the same, each (items, dim)."""
        hidden = self.content(view)
        for number, (own, around) in enumerate(zip(self.own, self.around, strict=True)):
            if number:
                hidden = functional.relu(hidden)
            hidden = own(hidden) + around(view.own_mean.propagate(hidden))
        found: tuple[torch.Tensor, torch.Tensor] = self.readout(hidden)
        return found
