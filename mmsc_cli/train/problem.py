"""What is to be learned: items, pairs and their weights, on one device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from mmsc_cli.model.behaviour import Surroundings
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.model.graph import Graph
from mmsc_cli.train.candidates import Candidates
from mmsc_cli.train.pairs import TrainingPairs
from mmsc_cli.train.views import surroundings

# A catalogue of more items passes the semantic level in parts of so many.
PART = 32_768


@dataclass(frozen=True)
class Problem:
    """All that the loop needs, on one device; weights are (pairs, 2), by relation."""

    items: ItemFeatures
    pairs: TrainingPairs
    weight: torch.Tensor
    target_weight: torch.Tensor
    similar: Graph

    def to(self, device: torch.device) -> Problem:
        """The same on another device."""
        return Problem(
            self.items.to(device),
            self.pairs.to(device),
            self.weight.to(device),
            self.target_weight.to(device),
            self.similar.to(device),
        )

    @cached_property
    def has_behaviour(self) -> torch.Tensor:
        """(items,) bool: items with any training pair."""
        return self.pairs.touched(len(self.items))

    @cached_property
    def parts(self) -> list[ItemFeatures]:
        """The items in parts of PART rows."""
        return [self.items.part(start, start + PART) for start in range(0, len(self.items), PART)]

    @cached_property
    def candidates(self) -> Candidates:
        """What can be a target, and so a negative: items without any training pair are neither."""
        return Candidates(np.flatnonzero(self.has_behaviour.cpu().numpy()))

    def everything_seen(self) -> Surroundings:
        """The surroundings for answering: all training pairs visible."""
        visible = torch.ones(len(self.pairs), dtype=torch.bool, device=self.weight.device)
        shown = self.has_behaviour.float().unsqueeze(1)
        return surroundings(self.pairs, self.weight, visible, shown, self.similar)
