"""`--adapt` without a GPU: train residual projections over frozen embeddings by contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mmsc_cli.encode.adapt.contrastive_loss import MODALITIES, Temperatures, contrastive_loss
from mmsc_cli.encode.adapt.early_stopping import Schedule, train_early_stopping
from mmsc_cli.encode.adapt.pair_batches import Rows
from mmsc_cli.encoders.projection import Adapter
from mmsc_cli.runtime.checkpoint import Checkpoints
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import torch_generator
from mmsc_cli.tables.embeddings import Embeddings

SCHEDULE = Schedule(batch=512, steps=25, max_epochs=40, patience=3, learning_rate=2e-3)
_SHARED_DIM = 128


def train_adapter(
    frozen: Embeddings,
    rows: Rows,
    *,
    shared_space: bool,
    seed: int,
    device: torch.device,
    checkpoints: Checkpoints | None = None,
    progress: Progress = SILENT,
) -> tuple[Adapter, dict[str, Any]]:
    """Train the projections.

    Args:
        frozen: the embeddings to adapt.
        rows: what to learn from.
        shared_space: whether a text vector and an image vector can be compared as they are.
        seed: the seed of the run.
        device: where to train.
        checkpoints: where to save the state after each epoch and to resume from; None: nowhere.
        progress: shows steps and losses.

    Returns:
        The adapter, and the report of `train_early_stopping`.
    """
    model = _Projections(frozen, shared_space, torch_generator(seed, "adapt/init")).to(device)

    def loss(batch: Rows) -> Tensor:
        return contrastive_loss(batch, frozen.mask, model.vectors, model.comparable, model.temperatures)

    parameters = dict(model.named_parameters())
    report = train_early_stopping(
        parameters, rows, iter, loss, SCHEDULE, seed=seed, checkpoints=checkpoints, progress=progress
    )
    text, image = (model.residual[name].detach().cpu().numpy().copy() for name in MODALITIES)
    return Adapter(text, image), report


class _Projections(nn.Module):
    """Residual projections, initially zero, and heads into a shared space if text and image have none."""

    def __init__(self, frozen: Embeddings, shared_space: bool, generator: torch.Generator) -> None:
        super().__init__()
        self._frozen = frozen
        dims = {"text": frozen.text.shape[1], "image": frozen.image.shape[1]}
        self.residual = nn.ParameterDict({name: torch.zeros(dim, dim) for name, dim in dims.items()})
        self.heads = nn.ParameterDict()
        if not shared_space:
            shared_dim = min(*dims.values(), _SHARED_DIM)
            for name, dim in dims.items():
                self.heads[name] = nn.init.orthogonal_(torch.empty(dim, shared_dim), generator=generator)
        self.temperatures = Temperatures()

    def vectors(self, modality: str, item_rows: NDArray[np.int64]) -> Tensor:
        """Return the adapted unit vectors, (items, dim)."""
        weight = self.residual[modality]
        rows = np.asarray(getattr(self._frozen, modality)[item_rows], dtype=np.float32)
        frozen = torch.from_numpy(rows).to(weight.device)
        return F.normalize(frozen + frozen @ weight)

    def comparable(self, modality: str, item_rows: NDArray[np.int64]) -> Tensor:
        """Return the adapted unit vectors in the shared space, (items, dim)."""
        vectors = self.vectors(modality, item_rows)
        return F.normalize(vectors @ self.heads[modality]) if self.heads else vectors
