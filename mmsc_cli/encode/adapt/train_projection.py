"""`--adapt` without a GPU: residual projections over frozen embeddings, fitted to this catalogue by contrast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mmsc_cli.encode.adapt.contrastive_loss import MODALITIES, Temperatures, contrastive_loss
from mmsc_cli.encode.adapt.early_stopping import Schedule, train_early_stopping
from mmsc_cli.encode.adapt.examples import epoch_batches, hold_out, in_parts, usable_rows
from mmsc_cli.encoders.projection import Adapter
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import torch_generator
from mmsc_cli.tables.pairs import Pairs

BATCH = 512
SCHEDULE = Schedule(steps=25, max_epochs=40, patience=3, learning_rate=2e-3)
_SHARED_DIM = 128


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


def train_adapter(
    frozen: FrozenEmbeddings,
    pairs: Pairs,
    warm: NDArray[np.bool_],
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: Progress = SILENT,
) -> Adaptation:
    """Train the projections, with a tenth of the training pairs and of the items held out to stop early.

    Args:
        frozen: the embeddings as encoded.
        pairs: the pair table; only its training pairs are read.
        warm: (items,) whether an item is in the catalogue's training part.
        seed: the run's seed.
        device: where to train.
        checkpoint: where the state is kept after each epoch, and continued from; None: nowhere.
        progress: who watches.

    Raises:
        InputError: there are too few training pairs, and too few items with text and image, to learn from.
    """
    rows = usable_rows(frozen.mask, pairs, warm)
    fit, valid = hold_out(rows, seed)
    model = _Projections(frozen, torch_generator(seed, "adapt/init")).to(device)

    def epoch_losses(epoch: int) -> Callable[[int], Tensor]:
        batches = epoch_batches(fit, BATCH, SCHEDULE.steps, seed=seed, epoch=epoch)
        return lambda step: contrastive_loss(
            batches[step], frozen.mask, model.vectors, model.comparable, model.temperatures
        )

    @torch.no_grad()
    def valid_loss() -> float:
        parts = in_parts(valid, BATCH)
        losses = [
            contrastive_loss(part, frozen.mask, model.vectors, model.comparable, model.temperatures) for part in parts
        ]
        return float(np.mean([loss.item() for loss in losses]))

    losses, best = train_early_stopping(
        dict(model.named_parameters()), epoch_losses, valid_loss, SCHEDULE, checkpoint=checkpoint, progress=progress
    )
    return Adaptation(model.adapter(), [round(loss, 4) for loss in losses], best, len(rows.pairs))


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
        self.temperatures = Temperatures()

    def vectors(self, modality: str, items: NDArray[np.int64]) -> Tensor:
        """The adapted vectors."""
        weight = self.residual[modality]
        rows = np.asarray(getattr(self._frozen, modality)[items], dtype=np.float32)
        frozen = torch.from_numpy(rows).to(weight.device)
        return F.normalize(frozen + frozen @ weight)

    def comparable(self, modality: str, items: NDArray[np.int64]) -> Tensor:
        """The same in one space."""
        vectors = self.vectors(modality, items)
        return F.normalize(vectors @ self.heads[modality]) if self.heads else vectors

    def adapter(self) -> Adapter:
        """The residuals as they are now."""
        text, image = (self.residual[name].detach().cpu().numpy().copy() for name in MODALITIES)
        return Adapter(text, image)
