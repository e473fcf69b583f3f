"""Task level: for each relation, a gate mixes the channels into a query and a key vector."""

from __future__ import annotations

import torch
from torch import nn

from mmsc_cli.model.behaviour import CHANNELS

GATE_FEATURES = 6


def gate_features(degree: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """What the gates see of an item: (items, GATE_FEATURES) from degrees (items, 2) and modality mask (items, 2)."""
    return torch.cat([torch.log1p(degree) / 3, (degree == 0).float(), present.float()], dim=1)


class TaskHead(nn.Module):
    """One vector per item from its channels, for one relation and one side (query or key)."""

    def __init__(self, dim: int, gated: bool = True) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(GATE_FEATURES, 16), nn.GELU(), nn.Linear(16, len(CHANNELS))) if gated else None
        self.scale = nn.Parameter(torch.ones(len(CHANNELS), dim))
        self.output = nn.Linear(dim, dim, bias=False)
        nn.init.normal_(self.output.weight, std=0.02)

    def forward(self, channels: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """(items, channels, dim) and (items, GATE_FEATURES) to (items, dim)."""
        if self.gate is None:
            mixed = channels.mean(dim=1)
        else:
            gate = 2 * torch.sigmoid(self.gate(features))
            mixed = torch.einsum("nc,ncd,cd->nd", gate, channels, self.scale) / len(CHANNELS)
        return mixed + self.output(mixed)
