"""GAT: as a graph convolution, but every neighbour counts as much as learned attention gives it.

Source: Veličković et al., "Graph Attention Networks", ICLR 2018, by torch-geometric's layer.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch_geometric.nn import GATConv

from mmsc_cli.evaluate.baselines.graph.content import Content, CosineReadout
from mmsc_cli.evaluate.baselines.graph.views import View


class Gat(nn.Module):
    """Layers of attention over the neighbours and the item itself, with an ELU between them, and a skip connection."""

    def __init__(self, content: Content, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.content = content
        self.readout = CosineReadout()
        self.layers = nn.ModuleList(GATConv(dim, dim // heads, heads, residual=True) for _ in range(layers))

    def forward(self, view: View) -> tuple[torch.Tensor, torch.Tensor]:
        """Query and key vectors, the same, each (items, dim)."""
        hidden = self.content(view)
        edges = torch.stack([view.own.row, view.own.column]).long()
        for number, layer in enumerate(self.layers):
            if number:
                hidden = functional.elu(hidden)
            hidden = layer(hidden, edges)
        found: tuple[torch.Tensor, torch.Tensor] = self.readout(hidden)
        return found
