"""Training pairs as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mmsc_cli.tables.pairs import Pairs


@dataclass(frozen=True)
class TrainingPairs:
    """Unordered training pairs as tensors: `a`, `b` (pairs,) int64; `strength` (pairs, 2) float32, by relation."""

    a: torch.Tensor
    b: torch.Tensor
    strength: torch.Tensor

    @classmethod
    def of(cls, pairs: Pairs) -> TrainingPairs:
        """The pairs of the training split."""
        train = pairs.of("train")
        strength = np.stack([train.strength("substitute"), train.strength("complement")], axis=1)
        return cls(
            torch.from_numpy(train.a.astype(np.int64)),
            torch.from_numpy(train.b.astype(np.int64)),
            torch.from_numpy(strength),
        )

    def __len__(self) -> int:
        return len(self.a)

    def joined(self, others: TrainingPairs) -> TrainingPairs:
        """These pairs and `others` after them."""
        return TrainingPairs(
            *(torch.cat([getattr(self, name), getattr(others, name)]) for name in ("a", "b", "strength"))
        )

    def touched(self, items: int) -> torch.Tensor:
        """(items,) bool: items with any of these pairs."""
        found = torch.zeros(items, dtype=torch.bool, device=self.a.device)
        found[self.a] = True
        found[self.b] = True
        return found

    def to(self, device: torch.device) -> TrainingPairs:
        """The same on another device."""
        return TrainingPairs(self.a.to(device), self.b.to(device), self.strength.to(device))
