"""The model: semantic level, behaviour level and task level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mmsc_cli.recipe.settings import Part
from mmsc_cli.relations import RELATIONS, Relation
from mmsc_cli.train.behaviour import BehaviourLevel
from mmsc_cli.train.data import ItemFeatures
from mmsc_cli.train.graph import Graph
from mmsc_cli.train.semantic import SemanticLevel
from mmsc_cli.train.task import TaskHead, gate_features


@dataclass(frozen=True)
class Shape:
    """The sizes a model is built from."""

    items: int
    text_dim: int
    image_dim: int
    categories: int
    brands: int
    dim: int


@dataclass(frozen=True)
class Surroundings:
    """The behaviour an item may be read from: graphs, degrees (items, 2), and whose item vector is shown (items, 1)."""

    view: Graph
    purchase: Graph
    similar: Graph
    degree: torch.Tensor
    has_item_vector: torch.Tensor


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
        self.query = nn.ModuleDict({name: TaskHead(shape.dim, gated=aggregation) for name in RELATIONS})
        self.key = nn.ModuleDict({name: TaskHead(shape.dim, gated=aggregation) for name in RELATIONS})
        self.log_scale = nn.Parameter(torch.full((len(RELATIONS),), -0.5 * math.log(shape.dim)))

    def forward(self, items: ItemFeatures, around: Surroundings) -> Vectors:
        """Per relation: queries and keys, each (items, dim); their dot product is the score."""
        shown = around.has_item_vector * float(self.use_item_vector)
        channels = self.behaviour(self.semantic(items), around.view, around.purchase, around.similar, shown)
        features = gate_features(around.degree, items.present)
        return {
            relation: (self.query[relation](channels, features) * scale, self.key[relation](channels, features))
            for relation, scale in zip(RELATIONS, self.log_scale.exp(), strict=True)
        }
