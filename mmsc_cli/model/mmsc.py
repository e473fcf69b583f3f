"""The model: semantic level, behaviour level and task level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from mmsc_cli.model.behaviour import BehaviourLevel, Lendable, Surroundings
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.model.graph import Graph
from mmsc_cli.model.semantic import SemanticLevel
from mmsc_cli.model.task import TaskLevel, gate_features
from mmsc_cli.recipe.settings import Part
from mmsc_cli.relations import RELATIONS, Relation


@dataclass(frozen=True)
class Shape:
    """The sizes a model is built from."""

    items: int
    text_dim: int
    image_dim: int
    categories: int
    brands: int
    dim: int


Vectors = dict[Relation, tuple[torch.Tensor, torch.Tensor]]


class Mmsc(nn.Module):
    """Query and key vectors of every item for both relations."""

    def __init__(self, shape: Shape, without: Sequence[Part] = ()) -> None:
        super().__init__()
        aggregation = "aggregation" not in without
        self.use_item_vector = "id" not in without
        self.semantic = SemanticLevel(
            shape.text_dim, shape.image_dim, shape.categories, shape.brands, shape.dim, attention=aggregation
        )
        self.behaviour = BehaviourLevel(shape.items, shape.dim)
        self.task = TaskLevel(shape.dim, gated=aggregation)
        self.log_scale = nn.Parameter(torch.full((len(RELATIONS),), -0.5 * math.log(shape.dim)))

    def forward(self, items: ItemFeatures, around: Surroundings) -> tuple[Vectors, Lendable]:
        """Per relation queries and keys, each (items, dim), whose dot product is the score; and what items lend."""
        if not self.use_item_vector:
            around = replace(around, has_item_vector=torch.zeros_like(around.has_item_vector))
        channels, lendable = self.behaviour(self.semantic(items), around)
        features = gate_features(around.degree, items.present)
        return self._scaled(self.task(channels, lendable.channel_size, features)), lendable

    def gates(self, items: ItemFeatures, degree: torch.Tensor) -> torch.Tensor:
        """How much each channel counts for items of degrees (items, 2): (items, HEADS, channels), see TaskLevel."""
        return self.task.weights(gate_features(degree, items.present))

    def new_items(self, items: ItemFeatures, similar: Graph, lendable: Lendable) -> Vectors:
        """The same for items the model has never seen, from `similar` (new, items) and what the catalogue lends."""
        channels = self.behaviour.borrow(self.semantic(items), similar, lendable)
        degree = torch.zeros(len(items), len(RELATIONS), device=items.text.device)
        return self._scaled(self.task(channels, lendable.channel_size, gate_features(degree, items.present)))

    def _scaled(self, vectors: Vectors) -> Vectors:
        scales = zip(vectors.items(), self.log_scale.exp(), strict=True)
        return {relation: (query * scale, key) for (relation, (query, key)), scale in scales}
