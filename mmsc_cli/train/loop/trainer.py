"""The training loop: epochs of masked views, validation, early stopping, checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmsc_cli.errors import MmscError
from mmsc_cli.model.behaviour import Lendable, Surroundings
from mmsc_cli.model.mmsc import Mmsc, Vectors
from mmsc_cli.runtime.memory import is_out_of_memory
from mmsc_cli.runtime.progress import SILENT, Progress, Task
from mmsc_cli.runtime.seeds import torch_generator
from mmsc_cli.train.data import PART, Problem, View, masked_views
from mmsc_cli.train.loop.checkpoint import Checkpoints, TrainingState
from mmsc_cli.train.loop.step import ChunkSize, Step
from mmsc_cli.train.settings import TrainSettings

_LOG = logging.getLogger("mmsc_cli")

# Learning rates relative to that of the item vectors; found on validation (docs/experiments.md, 2026-11-23).
HEAD_RATE = 1 / 20
ADAPTER_RATE = 1 / 50
LARGEST_GRADIENT = 5.0
# A step propagates over the whole catalogue, so a larger one gets larger steps, not more.
STEPS_PER_EPOCH = 40
SMALLEST_BATCH = 256
# What an interruption costs at most; short epochs are saved at their end.
SECONDS_BETWEEN_CHECKPOINTS = 300.0


@dataclass(frozen=True)
class Fitted:
    """The best epoch's vectors, what its items lend to new ones, and the figures of every epoch."""

    vectors: Vectors
    lendable: Lendable
    history: list[dict[str, float]]


def fit(
    model: Mmsc,
    problem: Problem,
    settings: TrainSettings,
    validate: Callable[[Vectors], dict[str, float]],
    seed: int,
    use_agreement: bool = True,
    checkpoints: Checkpoints | None = None,
    progress: Progress = SILENT,
) -> Fitted:
    """Train until validation stops improving; the model is left at its best epoch.

    A run that continues from a checkpoint goes through the same states as one that was never interrupted, bit by bit
    on a CPU.

    Args:
        model: on the problem's device; changed in place.
        problem: the data.
        settings: epochs, patience, learning rate and the rest.
        validate: figures of a set of vectors; `ndcg@10` among them decides.
        seed: of all random choices.
        use_agreement: whether the two views must agree.
        checkpoints: where to save the state, and to continue from; None: nowhere.
        progress: told of steps and figures.

    Raises:
        MmscError: the loss or its gradient is not a number, or the checkpoint must be continued and cannot be.
        MemoryError: there is too little memory for the smallest chunks.
    """
    return _Loop(model, problem, settings, seed, use_agreement, checkpoints).run(validate, progress)


@torch.no_grad()
def answer(model: Mmsc, problem: Problem, around: Surroundings) -> tuple[Vectors, Lendable]:
    """Query and key vectors with the given surroundings, nothing dropped; and what the items lend to new ones."""
    model.eval()
    if len(problem.items) > PART:
        return model.in_parts(problem.parts, around)
    found: tuple[Vectors, Lendable] = model(problem.items, around)
    return found


class _Loop:
    def __init__(
        self,
        model: Mmsc,
        problem: Problem,
        settings: TrainSettings,
        seed: int,
        use_agreement: bool,
        checkpoints: Checkpoints | None,
    ) -> None:
        self._model = model
        self._problem = problem
        self._settings = settings
        self._checkpoints = checkpoints
        self._generator = torch_generator(seed, "train")
        self._chunks = ChunkSize()
        self._step = Step(model, problem, settings, use_agreement, self._chunks)
        self._rows = torch.nonzero(problem.has_behaviour).squeeze(1)
        self._batch_queries = settings.batch_queries or max(
            SMALLEST_BATCH, math.ceil(len(self._rows) / STEPS_PER_EPOCH)
        )
        self._steps = math.ceil(len(self._rows) / self._batch_queries)
        self._optimiser = torch.optim.Adam(
            _parameter_groups(model, settings.learning_rate), fused=self._rows.device.type in ("cpu", "cuda")
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser,
            [group["lr"] for group in self._optimiser.param_groups],
            total_steps=self._steps * settings.epochs,
            pct_start=0.1,
        )
        self._state = TrainingState(model, self._optimiser, self._schedule, self._generator, self._chunks)

    def run(self, validate: Callable[[Vectors], dict[str, float]], progress: Progress) -> Fitted:
        saved = self._checkpoints.load() if self._checkpoints else None
        if saved:
            self._state.restore(*saved)
        position = self._state.position
        seen = self._problem.everything_seen()
        with progress.task("Training", self._settings.epochs * self._steps) as task:
            task.advance(position.steps)
            while position.epoch < self._settings.epochs and position.since_best < self._settings.patience:
                self._train_epoch(task)
                started = time.monotonic()
                vectors, _ = answer(self._model, self._problem, seen)
                figures = {"epoch": position.epoch + 1, "loss": position.loss / self._steps, **validate(vectors)}
                del vectors
                position.seconds += time.monotonic() - started
                self._close_epoch(figures, task)
        self._model.load_state_dict(self._state.best)
        return Fitted(*answer(self._model, self._problem, seen), position.history)

    def _train_epoch(self, task: Task) -> None:
        """The steps of an epoch, or what is left of them."""
        position = self._state.position
        self._model.train()
        resumed_at = self._generator.get_state()
        if position.batch:
            # The epoch's views and its order of queries are drawn again, then its steps go on where they were.
            self._generator.set_state(self._state.epoch_stream)
        else:
            self._state.epoch_stream = resumed_at
        started = saved = time.monotonic()
        views = masked_views(
            self._problem.pairs,
            self._problem.weight,
            self._problem.target_weight,
            self._problem.has_behaviour,
            self._problem.similar,
            self._settings.play_cold,
            self._generator,
        )
        order = self._rows[torch.randperm(len(self._rows), generator=self._generator).to(self._rows.device)]
        if position.batch:
            self._generator.set_state(resumed_at)
        for batch in torch.split(order, self._batch_queries)[position.batch :]:
            position.loss += self._take_step(views, batch)
            position.batch += 1
            position.steps += 1
            now = time.monotonic()
            position.seconds += now - started
            started = now
            task.advance()
            task.show(
                epoch=position.epoch + 1,
                loss=position.loss / position.batch,
                **({"valid": position.history[-1]["ndcg@10"]} if position.history else {}),
            )
            if now - saved > SECONDS_BETWEEN_CHECKPOINTS and position.batch < self._steps:
                self._save()
                saved = time.monotonic()

    def _take_step(self, views: tuple[View, View], batch: torch.Tensor) -> float:
        self._optimiser.zero_grad()
        loss = self._gradient(views, batch)
        norm = float(torch.nn.utils.clip_grad_norm_(self._model.parameters(), LARGEST_GRADIENT))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = "gradient" if math.isfinite(loss) else "loss"
            lower = self._settings.learning_rate / 3
            raise MmscError(
                f"the training {what} is not a number in epoch {self._state.position.epoch + 1}",
                hint=f"lower the learning rate: --set train.learning_rate={lower:.2g}",
            )
        self._optimiser.step()
        self._schedule.step()
        return loss

    def _gradient(self, views: tuple[View, View], batch: torch.Tensor) -> float:
        """The loss of a step, its gradient left in the parameters; in smaller chunks where memory runs out."""
        streams = self._generator.get_state(), torch.get_rng_state()
        while True:
            try:
                return self._step(views, batch, self._generator)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._chunks.halve(error)
            # What the failed try left is dropped, and its random choices are made again.
            self._optimiser.zero_grad()
            self._generator.set_state(streams[0])
            torch.set_rng_state(streams[1])
            if batch.device.type == "cuda":
                torch.cuda.empty_cache()

    def _close_epoch(self, figures: dict[str, float], task: Task) -> None:
        position = self._state.position
        position.history.append({**figures, "seconds": position.seconds})
        if figures["ndcg@10"] > position.best:
            position.best, position.since_best = figures["ndcg@10"], 0
            self._state.keep_best()
        else:
            position.since_best += 1
        position.epoch += 1
        position.batch, position.loss, position.seconds = 0, 0.0, 0.0
        _LOG.debug("epoch %d: loss %.4f, validation NDCG@10 %.4f", position.epoch, figures["loss"], figures["ndcg@10"])
        task.show(epoch=position.epoch, loss=figures["loss"], valid=figures["ndcg@10"])
        if self._checkpoints:
            self._checkpoints.write_history(position.history)
        self._save()

    def _save(self) -> None:
        if self._checkpoints:
            self._checkpoints.save(self._state.position.steps, self._state.tensors(), self._state.values())


def _parameter_groups(model: Mmsc, learning_rate: float) -> list[dict[str, Any]]:
    """Tables of vectors learn fast, as a row sees a gradient now and then; what all items share would overfit."""
    tables: list[nn.Parameter] = []
    heads: list[nn.Parameter] = []
    adapters: list[nn.Parameter] = []
    for module_name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            is_table = isinstance(module, nn.Embedding)
            group = tables if is_table else adapters if module_name.startswith("semantic") else heads
            group.append(parameter)
    return [
        {"params": tables, "lr": learning_rate},
        {"params": heads, "lr": learning_rate * HEAD_RATE},
        {"params": adapters, "lr": learning_rate * ADAPTER_RATE},
    ]
