"""From an item's hidden vector to its query and key vectors."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

INITIAL_SCALE = 10.0


class CosineReadout(nn.Module):
    """Cosine times a learned scale: the logits reach a useful size in a few steps, whatever the layers before give.

    For networks that start from embeddings: GraphSAGE's paper normalises likewise, and without it both of these
    need many times the steps. Networks that start from item vectors do better by dot products (docs/experiments.md).
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_SCALE).log())

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Query and key vectors of the same direction, each (items, dim)."""
        unit = functional.normalize(hidden, dim=1)
        return unit * self.log_scale.exp(), unit
