"""The loss of an adaptation: what belongs together comes closer than what does not.

Two things should be close: the two ends of a training pair (per modality), and an item's text and its image. Both are
the symmetric softmax over a batch of Radford et al., "Learning transferable visual models from natural language
supervision", ICML 2021.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mmsc_cli.encode.adapt.examples import Rows

MODALITIES = ("text", "image")
# Of (modality, item rows) the unit vectors, shape (rows, dim).
Vectors = Callable[[str, NDArray[np.int64]], Tensor]


class Temperatures(nn.ParameterDict):
    """The learned temperature of each of the three losses, as the logarithm of its inverse; CLIP's start, 1 / 0.07."""

    def __init__(self) -> None:
        super().__init__({name: torch.tensor(2.66) for name in (*MODALITIES, "both")})


def contrastive_loss(
    rows: Rows, mask: NDArray[np.bool_], vectors: Vectors, comparable: Vectors, temperatures: Temperatures
) -> Tensor:
    """Sum of the losses that the rows allow; 0 without a gradient where they allow none.

    Args:
        rows: the batch.
        mask: (items, 2) whether an item has a text, and an image.
        vectors: of texts and of images.
        comparable: the same in one space, where a text can be compared with an image.
        temperatures: of the three losses.
    """
    total = torch.zeros((), device=temperatures["both"].device)
    for column, modality in enumerate(MODALITIES):
        ends = rows.pairs[mask[rows.pairs, column].all(axis=1)]
        if len(ends) > 1:
            a, b = vectors(modality, ends[:, 0]), vectors(modality, ends[:, 1])
            total = total + _symmetric_softmax(a, b, ends, temperatures[modality])
    if len(rows.both) > 1:
        text, image = (comparable(modality, rows.both) for modality in MODALITIES)
        total = total + _symmetric_softmax(text, image, np.stack([rows.both] * 2, axis=1), temperatures["both"])
    return total


def _symmetric_softmax(a: Tensor, b: Tensor, ends: NDArray[np.int64], temperature: Tensor) -> Tensor:
    # An item is no negative of itself, nor of a partner that another pair of the batch brings in.
    same = (ends[:, None, 0] == ends[None, :, 0]) | (ends[:, None, 1] == ends[None, :, 1])
    same |= ends[:, None, 0] == ends[None, :, 1]
    np.fill_diagonal(same, val=False)
    scale = temperature.clamp(max=4.6).exp()
    logits = (scale * a @ b.T).masked_fill(torch.from_numpy(same).to(a.device), -torch.inf)
    target = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
