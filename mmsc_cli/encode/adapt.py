"""`--adapt`: fit residual projections over frozen embeddings to this catalogue, by contrast.

Two things should be close: the two ends of a training pair (per modality), and an item's text and its image.
Both are the symmetric softmax over a batch of Radford et al., "Learning transferable visual models from
natural language supervision", ICML 2021. Only training pairs between warm items, and only warm items, are
looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mmsc_cli.encode.adapter import Adapter
from mmsc_cli.errors import InputError
from mmsc_cli.pairs import Pairs
from mmsc_cli.progress import SILENT, Progress
from mmsc_cli.seeds import numpy_generator, torch_generator

BATCH = 512
# An epoch is so many batches, whatever the catalogue's size; early stopping looks in after each.
STEPS = 25
MAX_EPOCHS = 40
PATIENCE = 3
_HELD_OUT = 0.1
_VALID_BATCHES = 4
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-2
_SHARED_DIM = 128
_MODALITIES = ("text", "image")


@dataclass(frozen=True)
class FrozenEmbeddings:
    """Embeddings to adapt: `text` (items, text_dim), `image` (items, image_dim), `mask` (items, 2).

    `shared_space` says whether a text and an image vector can be compared as they are.
    """

    text: NDArray[Any]
    image: NDArray[Any]
    mask: NDArray[np.bool_]
    shared_space: bool


@dataclass(frozen=True)
class Adaptation:
    """An adapter and how it came about; `valid_losses[0]` is that of the frozen embeddings."""

    adapter: Adapter
    valid_losses: list[float]
    best_epoch: int
    pairs: int


@dataclass(frozen=True)
class _Rows:
    """What a loss is taken over: pairs of item rows, shape (pairs, 2), and rows with both text and image."""

    pairs: NDArray[np.int64]
    both: NDArray[np.int64]


def train_adapter(
    frozen: FrozenEmbeddings,
    pairs: Pairs,
    warm: NDArray[np.bool_],
    *,
    seed: int,
    device: torch.device,
    progress: Progress = SILENT,
) -> Adaptation:
    """Train the projections, with a tenth of the training pairs and of the items held out to stop early.

    Args:
        frozen: the embeddings as encoded.
        pairs: the pair table; only its training pairs are read.
        warm: (items,) whether an item is in the catalogue's training part.
        seed: the run's seed.
        device: where to train.
        progress: who watches.

    Raises:
        InputError: there are too few training pairs, and too few items with text and image, to learn from.
    """
    rng = numpy_generator(seed, "adapt/batches")
    fit, valid = _held_out(_usable_rows(frozen, pairs, warm), rng)
    model = _Projections(frozen, torch_generator(seed, "adapt/init")).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    pair_batches, item_batches = _endless(fit.pairs, rng), _endless(fit.both, rng)
    losses = [_valid_loss(model, valid)]
    best, kept = 0, model.adapter()
    with progress.task("adapting", total=MAX_EPOCHS * STEPS) as task:
        for epoch in range(1, MAX_EPOCHS + 1):
            for _ in range(STEPS):
                optimiser.zero_grad()
                loss = model.loss(_Rows(next(pair_batches), next(item_batches)))
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                task.advance()
            losses.append(_valid_loss(model, valid))
            task.show(epoch=epoch, valid_loss=losses[-1])
            if losses[-1] < losses[best]:
                best, kept = epoch, model.adapter()
            elif epoch - best >= PATIENCE:
                break
    return Adaptation(kept, [round(loss, 4) for loss in losses], best, len(fit.pairs) + len(valid.pairs))


class _Projections(nn.Module):
    """Residual projections, zero at first; where text and image spaces differ, heads into a shared one."""

    def __init__(self, frozen: FrozenEmbeddings, generator: torch.Generator) -> None:
        super().__init__()
        self._frozen = frozen
        text_dim, image_dim = frozen.text.shape[1], frozen.image.shape[1]
        self.residual = nn.ParameterDict(
            {"text": torch.zeros(text_dim, text_dim), "image": torch.zeros(image_dim, image_dim)}
        )
        self.heads = nn.ParameterDict()
        if not frozen.shared_space:
            shared = min(text_dim, image_dim, _SHARED_DIM)
            for name, dim in (("text", text_dim), ("image", image_dim)):
                self.heads[name] = nn.init.orthogonal_(torch.empty(dim, shared), generator=generator)
        # log of 1/0.07, CLIP's start, for each of the three losses
        self.log_scale = nn.ParameterDict({name: torch.tensor(2.66) for name in (*_MODALITIES, "both")})

    def loss(self, rows: _Rows) -> Tensor:
        """Sum of the losses the rows allow."""
        total: Tensor = 0 * self.residual["text"].sum()  # so that a batch that allows none still has a gradient
        for column, modality in enumerate(_MODALITIES):
            present = self._frozen.mask[rows.pairs, column].all(axis=1)
            ends = rows.pairs[present]
            if len(ends) > 1:
                a, b = self._adapted(modality, ends[:, 0]), self._adapted(modality, ends[:, 1])
                total = total + self._contrast(modality, a, b, ends)
        if len(rows.both) > 1:
            text, image = (self._adapted(modality, rows.both) for modality in _MODALITIES)
            if self.heads:
                text, image = (F.normalize(x @ self.heads[m]) for m, x in (("text", text), ("image", image)))
            total = total + self._contrast("both", text, image, np.stack([rows.both, rows.both], axis=1))
        return total

    def adapter(self) -> Adapter:
        """The residuals as they are now."""
        text, image = (self.residual[name].detach().cpu().numpy().copy() for name in _MODALITIES)
        return Adapter(text, image)

    def _adapted(self, modality: str, items: NDArray[np.int64]) -> Tensor:
        weight = self.residual[modality]
        rows = np.asarray(getattr(self._frozen, modality)[items], dtype=np.float32)
        frozen = torch.from_numpy(rows).to(weight.device)
        adapted: Tensor = F.normalize(frozen + frozen @ weight)
        return adapted

    def _contrast(self, loss: str, a: Tensor, b: Tensor, ends: NDArray[np.int64]) -> Tensor:
        # An item is no negative of itself, nor of a partner that another pair of the batch brings in.
        same = (ends[:, None, 0] == ends[None, :, 0]) | (ends[:, None, 1] == ends[None, :, 1])
        same |= ends[:, None, 0] == ends[None, :, 1]
        np.fill_diagonal(same, val=False)
        scale = self.log_scale[loss].clamp(max=4.6).exp()
        logits = (scale * a @ b.T).masked_fill(torch.from_numpy(same).to(a.device), -torch.inf)
        target = torch.arange(len(a), device=a.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _usable_rows(frozen: FrozenEmbeddings, pairs: Pairs, warm: NDArray[np.bool_]) -> _Rows:
    training = pairs.of("train")
    ends = np.stack([training.a, training.b], axis=1).astype(np.int64)
    # What is held out whole is out, even if a table made elsewhere says otherwise.
    ends = ends[warm[ends].all(axis=1)]
    ends = ends[(frozen.mask[ends[:, 0]] & frozen.mask[ends[:, 1]]).any(axis=1)]
    both = np.flatnonzero(frozen.mask.all(axis=1) & warm)
    if max(len(ends), len(both)) < 20:
        raise InputError(
            f"--adapt: {len(ends)} training pairs and {len(both)} items with text and image are too few",
            hint="leave out --adapt",
        )
    return _Rows(ends, both)


def _held_out(rows: _Rows, rng: np.random.Generator) -> tuple[_Rows, _Rows]:
    shares = []
    for table in (rows.pairs, rows.both):
        order = rng.permutation(len(table))
        cut = min(int(len(table) * _HELD_OUT), _VALID_BATCHES * BATCH)
        shares.append((table[np.sort(order[cut:])], table[order[:cut]]))
    (fit_pairs, valid_pairs), (fit_both, valid_both) = shares
    return _Rows(fit_pairs, fit_both), _Rows(valid_pairs, valid_both)


def _endless(rows: NDArray[np.int64], rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    batches = max(-(-len(rows) // BATCH), 1)
    while True:
        for part in np.array_split(rng.permutation(len(rows)), batches):
            yield rows[part]


@torch.no_grad()
def _valid_loss(model: _Projections, valid: _Rows) -> float:
    batches = -(-max(len(valid.pairs), len(valid.both)) // BATCH)
    parts = [
        _Rows(valid.pairs[start : start + BATCH], valid.both[start : start + BATCH])
        for start in range(0, batches * BATCH, BATCH)
    ]
    return float(np.mean([model.loss(part).item() for part in parts]))
