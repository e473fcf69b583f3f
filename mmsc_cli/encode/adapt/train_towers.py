"""`--adapt` on a GPU: low-rank matrices in both towers, trained by contrast on the catalogue's texts and images."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmsc_cli.encode.adapt.contrastive_loss import Temperatures
from mmsc_cli.encode.adapt.early_stopping import Schedule, train_early_stopping
from mmsc_cli.encode.adapt.examples import Rows, epoch_batches, hold_out, in_parts, usable_rows
from mmsc_cli.encode.adapt.tower_batches import TowerReader
from mmsc_cli.encoders.lora import RANK, inject_lora, save_lora, trained_matrices
from mmsc_cli.encoders.open_clip import OpenClipEncoder
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.memory import is_out_of_memory
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import derive_seed
from mmsc_cli.tables.pairs import Pairs

BATCH = 128
SMALLEST_BATCH = 8
SCHEDULE = Schedule(steps=50, max_epochs=20, patience=3, learning_rate=5e-4)
_REPORT = "lora.json"
_TIMED = 4
_LOG = logging.getLogger("mmsc_cli")


def fine_tune(
    encoder: OpenClipEncoder,
    items: Path,
    pairs: Pairs,
    workspace_root: Path,
    folder: Path,
    *,
    seed: int,
    progress: Progress = SILENT,
) -> None:
    """Train low-rank matrices and write them into `folder`, beside a report of how they came about.

    A training that was stopped goes on after its last whole epoch. The encoder is of no use afterwards: open another.

    Args:
        encoder: the frozen towers.
        items: the item table.
        pairs: the pair table; only its training pairs are read.
        workspace_root: where `image_path` starts.
        folder: where the matrices go, and the state of their training is kept.
        seed: the run's seed.
        progress: who watches.

    Raises:
        InputError: there is too little to learn from; the extra `adapt` is not installed; or the towers have no
            linear layers.
    """
    reader = TowerReader(encoder, items, workspace_root)
    rows = usable_rows(reader.mask, pairs, reader.warm)
    if encoder.precision is torch.float16:
        encoder.precision = None  # gradients this small need a wider exponent
    temperatures = Temperatures().to(encoder.device)
    trained = inject_lora(encoder.model, encoder.name, derive_seed(seed, "adapt/lora"))
    trained |= {f"temperatures.{name}": tensor for name, tensor in temperatures.items()}
    training = _Training(encoder, reader, hold_out(rows, seed), temperatures, seed)
    start = {name: tensor.detach().clone() for name, tensor in trained.items()}
    while True:
        try:
            losses, best = train_early_stopping(
                trained,
                training.epoch_losses,
                training.valid_loss,
                SCHEDULE,
                checkpoint=folder / f"training-{training.batch}.safetensors",
                progress=progress,
            )
            break
        except RuntimeError as error:
            if not is_out_of_memory(error) or training.batch <= SMALLEST_BATCH:
                raise
        training.batch //= 2
        with torch.no_grad():
            for name, tensor in trained.items():
                tensor.copy_(start[name])
        _LOG.warning("out of memory: adapting with batches of %d", training.batch)
    save_lora(folder, trained_matrices(encoder.model))
    report = {
        "trained": "lora",
        "pairs": len(rows.pairs),
        "best_epoch": best,
        "valid_losses": [round(loss, 4) for loss in losses],
        "rank": RANK,
        "batch": training.batch,
    }
    write_json(folder / _REPORT, report)


def is_fine_tuned(folder: Path) -> bool:
    """Whether the matrices in a folder are trained to the end."""
    return (folder / _REPORT).exists()


def read_report(folder: Path) -> dict[str, Any]:
    """How the matrices in a folder came about."""
    report: dict[str, Any] = json.loads((folder / _REPORT).read_bytes())
    return report


@torch.inference_mode()
def seconds_per_epoch(encoder: OpenClipEncoder) -> float:
    """What an epoch of `fine_tune` would take: a small forward pass is timed; with its backward pass it is three."""
    pixels, tokens = encoder.blank_inputs(_TIMED)
    seconds = 0.0
    for _ in range(2):  # the first one warms up
        started = time.perf_counter()
        encoder.encode_pixels(pixels).sum().item()
        encoder.encode_tokens(tokens).sum().item()
        seconds = time.perf_counter() - started
    return 3 * seconds / _TIMED * 2 * BATCH * SCHEDULE.steps


class _Training:
    def __init__(
        self,
        encoder: OpenClipEncoder,
        reader: TowerReader,
        rows: tuple[Rows, Rows],
        temperatures: Temperatures,
        seed: int,
    ) -> None:
        self.batch = BATCH
        self._encoder = encoder
        self._reader = reader
        self._fit, self._valid = rows
        self._temperatures = temperatures
        self._seed = seed

    def epoch_losses(self, epoch: int) -> Callable[[int], Tensor]:
        batches = self._reader.read(epoch_batches(self._fit, self.batch, SCHEDULE.steps, seed=self._seed, epoch=epoch))
        return lambda _: next(batches).loss(self._encoder, self._temperatures)

    @torch.no_grad()
    def valid_loss(self) -> float:
        batches = self._reader.read(in_parts(self._valid, self.batch))
        return float(np.mean([batch.loss(self._encoder, self._temperatures).item() for batch in batches]))
