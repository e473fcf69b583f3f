"""The model: semantic level, behaviour level and task level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from mmsc_cli.model.behaviour import BehaviourLevel, Surroundings, WantedRows
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.model.parts import Part
from mmsc_cli.model.semantic import SemanticLevel
from mmsc_cli.model.task import SIDES, TaskLevel, gate_features
from mmsc_cli.tables.relations import RELATIONS, Relation


@dataclass(frozen=True)
class Shape:
    """The sizes a model is built from."""

    items: int
    text_dim: int
    image_dim: int
    categories: int
    brands: int
    dim: int
    joint_dim: int = 0

    @property
    def side_dims(self) -> tuple[int, int, int]:
        """Widths of text, image and joint vectors."""
        return self.text_dim, self.image_dim, self.joint_dim


Vectors = dict[Relation, tuple[torch.Tensor, torch.Tensor]]


class Mmsc(nn.Module):
    """Query and key vectors of every item for both relations."""

    def __init__(self, shape: Shape, without: Sequence[Part] = ()) -> None:
        super().__init__()
        aggregation = "aggregation" not in without
        self.use_item_vector = "id" not in without
        self.semantic = SemanticLevel(shape.side_dims, shape.categories, shape.brands, shape.dim, attention=aggregation)
        self.behaviour = BehaviourLevel(shape.items, shape.dim)
        self.task = TaskLevel(shape.dim, gated=aggregation)
        self.log_scale = nn.Parameter(torch.full((len(RELATIONS),), -0.5 * math.log(shape.dim)))

    def forward(
        self,
        items: ItemFeatures,
        around: Surroundings,
        semantic: torch.Tensor | None = None,
        wanted: WantedRows | None = None,
        queries: torch.Tensor | None = None,
    ) -> Vectors:
        """Per relation queries and keys, (rows, dim), whose dot product is the score.

        Args:
            items: the whole catalogue.
            around: what it may be read from.
            semantic: (items, dim), where the semantic level has already answered; it sees nothing of `around`.
            wanted: the items whose vectors are wanted; None: all.
            queries: (queries,) which of these ask, by their place; None: all. The others have a key alone.
        """
        around = self._shown(around)
        if semantic is None:
            semantic = self.semantic(items)
        channels, size = self.behaviour(semantic, around, wanted)
        features = gate_features(around.degree, items.present)
        if wanted is not None:
            features = features[wanted.rows]
        return self._scaled(self.task(channels, size, features, queries))

    def in_parts(self, parts: Sequence[ItemFeatures], around: Surroundings) -> Vectors:
        """The same for a whole catalogue that is given in parts: only one part of it is in the task level at a time."""
        channels, size = self.behaviour(torch.cat([self.semantic(part) for part in parts]), self._shown(around))
        by_part: list[Vectors] = []
        start = 0
        for part in parts:
            rows = slice(start, start + len(part))
            features = gate_features(around.degree[rows], part.present)
            by_part.append(self._scaled(self.task([channel[rows] for channel in channels], size, features)))
            start += len(part)
        joined = {
            relation: tuple(torch.cat([vectors[relation][side] for vectors in by_part]) for side in range(SIDES))
            for relation in RELATIONS
        }
        return {relation: (sides[0], sides[1]) for relation, sides in joined.items()}

    def gates(self, items: ItemFeatures, degree: torch.Tensor) -> torch.Tensor:
        """How much each channel counts for items of degrees (items, 2): (items, HEADS, channels), see TaskLevel."""
        return self.task.weights(gate_features(degree, items.present))

    def _shown(self, around: Surroundings) -> Surroundings:
        if self.use_item_vector:
            return around
        return replace(around, has_item_vector=torch.zeros_like(around.has_item_vector))

    def _scaled(self, vectors: Vectors) -> Vectors:
        scales = zip(vectors.items(), self.log_scale.exp(), strict=True)
        return {relation: (query * scale, key) for (relation, (query, key)), scale in scales}
