"""`--adapt` on a GPU: train low-rank matrices in both towers by contrast, on the catalogue's texts and images."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmsc_cli.encode.adapt.contrastive_loss import Temperatures
from mmsc_cli.encode.adapt.early_stopping import Schedule, copy_parameters, set_parameters, train_early_stopping
from mmsc_cli.encode.adapt.pair_batches import usable_rows
from mmsc_cli.encode.adapt.tower_batches import TowerBatch, TowerReader
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encoders.lora import RANK, inject_lora, save_lora, trained_matrices
from mmsc_cli.encoders.open_clip import OpenClipEncoder
from mmsc_cli.runtime.checkpoint import Checkpoints
from mmsc_cli.runtime.machine.memory import is_out_of_memory
from mmsc_cli.runtime.seeds import derive_seed
from mmsc_cli.tables.pairs import Pairs

SMALLEST_BATCH = 8
SCHEDULE = Schedule(batch=128, steps=50, max_epochs=20, patience=3, learning_rate=5e-4)
_TIMED = 4
_LOG = logging.getLogger(__name__)


def fine_tune(encoder: OpenClipEncoder, task: EncodeTask, folder: Path) -> dict[str, Any]:
    """Train low-rank matrices, write them into `folder` and return a report.

    A stopped training resumes after its last epoch. The encoder cannot be used afterwards: open another.

    Raises:
        InputError: there is too little to learn from, the extra `adapt` is not installed, or the towers have no linear
            layers.
    """
    reader = TowerReader(encoder, task.items_path, task.workspace_root)
    rows = usable_rows(reader.mask, Pairs.read(task.pairs_path), reader.warm)
    if encoder.precision is torch.float16:
        encoder.precision = None  # its exponent is too narrow for gradients this small
    temperatures = Temperatures().to(encoder.device)
    trained = inject_lora(encoder.model, encoder.name, derive_seed(task.seed, "adapt/lora"))
    trained |= {f"temperatures.{name}": tensor for name, tensor in temperatures.items()}
    untrained = copy_parameters(trained)

    def loss(batch: TowerBatch) -> Tensor:
        return batch.loss(encoder, temperatures)

    schedule = SCHEDULE
    while True:
        checkpoints = Checkpoints(folder / f"batch-{schedule.batch}", {})
        try:
            report = train_early_stopping(
                trained,
                rows,
                reader.read,
                loss,
                schedule,
                seed=task.seed,
                checkpoints=checkpoints,
                progress=task.progress,
            )
            break
        except RuntimeError as error:
            if not is_out_of_memory(error) or schedule.batch <= SMALLEST_BATCH:
                raise
        schedule = replace(schedule, batch=schedule.batch // 2)
        set_parameters(trained, untrained)
        _LOG.warning("out of memory: adapting with batches of %d", schedule.batch)
    save_lora(folder, trained_matrices(encoder.model))
    return {"trained": "lora", **report, "rank": RANK, "batch": schedule.batch}


@torch.inference_mode()
def hours_per_epoch(encoder: OpenClipEncoder) -> float:
    """Estimate the time of an epoch of `fine_tune` from a small forward pass; a backward pass costs twice as much."""
    pixels, tokens = encoder.blank_inputs(_TIMED)
    seconds = 0.0
    for _ in range(2):  # the first pass warms up
        started = time.perf_counter()
        encoder.encode_pixels(pixels).sum().item()
        encoder.encode_tokens(tokens).sum().item()
        seconds = time.perf_counter() - started
    return 3 * seconds / _TIMED * 2 * SCHEDULE.batch * SCHEDULE.steps / 3_600
