"""LLM-assisted supervision: labels re-weight training pairs, and add pairs that behaviour never showed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_pairs
from mmsc_cli.tables.labels import Labels
from mmsc_cli.train.loop.data import TrainingPairs


@dataclass(frozen=True)
class Supervision:
    """What the labels say, by training pair.

    `on_pairs` (labelled,) rows of the training pairs that have a label, `believed` (labelled, 2) the probability of
    each relation, `confidence` (labelled, 1) how far to trust it; `added` further pairs with strengths p x confidence.
    """

    on_pairs: torch.Tensor
    believed: torch.Tensor
    confidence: torch.Tensor
    added: TrainingPairs
    strength: float

    def target_factor(self, pairs: int) -> torch.Tensor:
        """Factor on each training pair's weight as a target, (pairs, 2): above one if believed, below if not."""
        factor = torch.ones(pairs, 2)
        factor[self.on_pairs] += self.strength * self.confidence * (2 * self.believed - 1)
        return factor


def read_supervision(labels: Labels, pairs: TrainingPairs, trainable: torch.Tensor, strength: float) -> Supervision:
    """Match labels with training pairs.

    Args:
        labels: the label table.
        pairs: the training pairs.
        trainable: (items,) bool; pairs are added between such items alone, so that held-out items stay unseen.
        strength: of the whole term, 0 to 1.
    """
    rows = _training_rows(labels, pairs, len(trainable))
    matched = rows >= 0
    believed = torch.from_numpy(labels.probabilities()[:, :2].copy())
    confidence = torch.from_numpy((labels.label_mass * labels.agreement)[:, None])
    free = trainable.numpy()
    fresh = torch.from_numpy(~matched & free[labels.a] & free[labels.b])
    added = believed * confidence * (believed > 0.5) * strength
    use = fresh & (added > 0).any(dim=1)
    a, b = (torch.from_numpy(end.astype(np.int64))[use] for end in (labels.a, labels.b))
    return Supervision(
        on_pairs=torch.from_numpy(rows[matched]),
        believed=believed[matched],
        confidence=confidence[matched],
        added=TrainingPairs(a, b, added[use]),
        strength=strength,
    )


def _training_rows(labels: Labels, pairs: TrainingPairs, n_items: int) -> NDArray[np.int64]:
    """The row of each labelled pair among the training pairs, -1 if it is none."""
    return find_pairs(pairs.a.numpy(), pairs.b.numpy(), labels.a, labels.b, n_items)
