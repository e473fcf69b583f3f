"""The contrastive loss of an adaptation.

Two kinds of vectors should be close: those of the two items of a training pair (per modality), and those of an item's
text and image. Both losses are the symmetric softmax over a batch of Radford et al., "Learning transferable visual
models from natural language supervision", ICML 2021.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mmsc_cli.encode.adapt.pair_batches import Rows

MODALITIES = ("text", "image")
# Returns the unit vectors, (rows, dim), of a modality and item rows.
Vectors = Callable[[str, NDArray[np.int64]], Tensor]


class Temperatures(nn.ParameterDict):
    """Learned temperatures of the three losses: log(1 / temperature), initially log(1 / 0.07) as in CLIP."""

    def __init__(self) -> None:
        super().__init__({name: torch.tensor(2.66) for name in (*MODALITIES, "both")})


def contrastive_loss(
    rows: Rows, mask: NDArray[np.bool_], vectors: Vectors, comparable: Vectors, temperatures: Temperatures
) -> Tensor:
    """Return the sum of the losses that the rows allow; 0 without a gradient if they allow none.

    Args:
        rows: the batch.
        mask: (items, 2) whether an item has a text and an image.
        vectors: returns the vectors of a modality.
        comparable: returns them in the space that text and image share.
        temperatures: the temperatures of the three losses.
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
    # (pairs, pairs): where a column's item equals the row's items, so it is no negative of the row.
    same = (ends[:, None, 0] == ends[None, :, 0]) | (ends[:, None, 1] == ends[None, :, 1])
    same |= ends[:, None, 0] == ends[None, :, 1]
    np.fill_diagonal(same, val=False)
    scale = temperature.clamp(max=4.6).exp()
    logits = (scale * a @ b.T).masked_fill(torch.from_numpy(same).to(a.device), -torch.inf)
    target = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
