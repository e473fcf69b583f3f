"""What a network knows of an item before it looks at any neighbour.

From an item's hidden vector to its query and key vectors."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mmsc_cli.evaluate.baselines.graph.views import View
from mmsc_cli.evaluate.context import FittingContext


class Content(nn.Module):
    """A projection of the item's embeddings, plus, if wanted, a vector of its own where it has behaviour."""

    def __init__(self, context: FittingContext, dim: int, *, item_vectors: bool) -> None:
        """Take the embeddings there are, text and image side by side, as they come: unit rows, or zero where absent."""
        super().__init__()
        found = [
            np.asarray(modality.vectors, np.float32) * modality.present[:, None]
            for modality in (context.text, context.image)
            if modality is not None and modality.present.any()
        ]
        joined = np.concatenate(found, axis=1) if found else np.zeros((context.items, 0), np.float32)
        # Unit rows are short beside what a linear layer's initial weights expect of each of their columns.
        joined *= np.float32(np.sqrt(joined.shape[1]))
        self.register_buffer("features", torch.from_numpy(joined), persistent=False)
        self.projection = nn.Linear(joined.shape[1], dim, bias=False) if joined.shape[1] else None
        self.item = nn.Embedding(context.items, dim) if item_vectors else None
        if self.item is not None:
            nn.init.normal_(self.item.weight, std=0.1)

    def forward(self, view: View) -> torch.Tensor:
        """Vectors of all items, (items, dim)."""
        known = [] if self.projection is None else [self.projection(self.features)]
        if self.item is not None:
            known.append(self.item.weight * view.connected)
        return torch.stack(known).sum(dim=0)


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
