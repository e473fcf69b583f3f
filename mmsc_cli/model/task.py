"""Task level: a gate per relation and side mixes an item's channels into its query and key vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mmsc_cli.model.behaviour import CHANNELS
from mmsc_cli.model.mixing import mix
from mmsc_cli.tables.relations import RELATIONS, Relation

SIDES = 2
HEADS = len(RELATIONS) * SIDES
GATE_FEATURES = 6
GATE_WIDTH = 32


def gate_features(degree: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """What the gates see of an item: (items, GATE_FEATURES) from degrees (items, 2) and modality mask (items, 2)."""
    return torch.cat([torch.log1p(degree) / 3, (degree == 0).float(), present.float()], dim=1)


class TaskLevel(nn.Module):
    """Query and key vectors for both relations: complement is not symmetric, so a query is not a key."""

    def __init__(self, dim: int, gated: bool = True) -> None:
        super().__init__()
        layers = (
            nn.Linear(GATE_FEATURES, GATE_WIDTH),
            nn.GELU(),
            nn.Linear(GATE_WIDTH, HEADS * len(CHANNELS)),
        )
        self.gate = nn.Sequential(*layers) if gated else None
        outputs = [nn.Linear(dim, dim, bias=False) for _ in range(HEADS)]
        for layer in outputs:
            nn.init.normal_(layer.weight, std=0.02)
        self.output = nn.ModuleList(outputs)

    def weights(self, features: torch.Tensor) -> torch.Tensor:
        """How much each channel counts, 0 to 2, (items, HEADS, channels), from features (items, GATE_FEATURES).

        Heads are, by relation, query and key.
        """
        shape = (len(features), HEADS, len(CHANNELS))
        if self.gate is None:
            return torch.ones(shape, device=features.device)
        return 2 * torch.sigmoid(self.gate(features).view(shape))

    def forward(
        self,
        channels: Sequence[torch.Tensor],
        channel_size: torch.Tensor,
        features: torch.Tensor,
        queries: torch.Tensor | None = None,
    ) -> dict[Relation, tuple[torch.Tensor, torch.Tensor]]:
        """Mix the channels.

        Args:
            channels: each (items, dim).
            channel_size: (channels,), what each channel is divided by, so that all start equal.
            features: (items, GATE_FEATURES).
            queries: (queries,) which of the items ask; None: all.

        Returns:
            Per relation the query vectors (queries, dim) and the key vectors (items, dim).
        """
        mixed = mix(self.weights(features) / (channel_size * len(CHANNELS)), channels)
        vectors = list(mixed.unbind(dim=1))
        if queries is not None:
            vectors[::SIDES] = [vector[queries] for vector in vectors[::SIDES]]
        sides = [vector + layer(vector) for vector, layer in zip(vectors, self.output, strict=True)]
        return {relation: (sides[SIDES * i], sides[SIDES * i + 1]) for i, relation in enumerate(RELATIONS)}
