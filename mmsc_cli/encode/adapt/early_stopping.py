"""Train by contrast until the validation loss stops falling; a stopped training resumes after its last epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from mmsc_cli.encode.adapt.pair_batches import Rows, epoch_batches, hold_out, in_batches
from mmsc_cli.runtime.checkpoint import Checkpoints
from mmsc_cli.runtime.progress import Progress

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train. An epoch has `steps` batches, whatever the size of the catalogue."""

    batch: int
    steps: int
    max_epochs: int
    patience: int
    learning_rate: float
    weight_decay: float = 1e-2


def train_early_stopping(
    parameters: Mapping[str, Tensor],
    rows: Rows,
    read: Callable[[Sequence[Rows]], Iterator[Batch]],
    loss: Callable[[Batch], Tensor],
    schedule: Schedule,
    *,
    seed: int,
    checkpoints: Checkpoints | None,
    progress: Progress,
) -> dict[str, Any]:
    """Train with AdamW and leave the parameters as they were after the best epoch.

    Args:
        parameters: what to train, by name.
        rows: what to learn from; a tenth is held out for validation.
        read: yields the inputs of batches.
        loss: computes the loss of a batch with the present parameters.
        schedule: how long and how fast.
        seed: the seed of the run.
        checkpoints: where to save the state after each epoch and to resume from; None: nowhere.
        progress: shows steps and losses.

    Returns:
        A report: the number of pairs, the best epoch (0: untrained), and the validation loss before training and after
        each epoch.
    """
    fit, valid = hold_out(rows, seed)

    @torch.no_grad()
    def valid_loss() -> float:
        return float(np.mean([loss(batch).item() for batch in read(in_batches(valid, schedule.batch))]))

    optimiser = torch.optim.AdamW(
        list(parameters.values()), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    state = checkpoints.load() if checkpoints else None
    if state:
        set_parameters(parameters, state["parameters"])
        optimiser.load_state_dict(state["optimiser"])
        losses, best, kept = state["losses"], state["best"], state["kept"]
    else:
        losses, best, kept = [valid_loss()], 0, copy_parameters(parameters)
    with progress.task("adapting", total=schedule.max_epochs * schedule.steps) as task:
        task.advance((len(losses) - 1) * schedule.steps)
        while len(losses) <= schedule.max_epochs and len(losses) - 1 - best < schedule.patience:
            for batch in read(epoch_batches(fit, schedule.batch, schedule.steps, seed=seed, epoch=len(losses))):
                optimiser.zero_grad()
                step_loss = loss(batch)
                if step_loss.requires_grad:
                    step_loss.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                task.advance()
            losses.append(valid_loss())
            task.show(epoch=len(losses) - 1, valid_loss=losses[-1])
            if losses[-1] < losses[best]:
                best, kept = len(losses) - 1, copy_parameters(parameters)
            if checkpoints:
                now = {"parameters": parameters, "optimiser": optimiser.state_dict()}
                checkpoints.save({**now, "losses": losses, "best": best, "kept": kept})
    set_parameters(parameters, kept)
    return {"pairs": len(rows.pairs), "best_epoch": best, "valid_losses": [round(value, 4) for value in losses]}


def copy_parameters(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy the values of parameters."""
    return {name: tensor.detach().clone() for name, tensor in parameters.items()}


@torch.no_grad()
def set_parameters(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Give parameters the values that `copy_parameters` copied."""
    for name, tensor in parameters.items():
        tensor.copy_(values[name])
