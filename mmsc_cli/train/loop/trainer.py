"""The training loop: epochs of masked views, validation, early stopping, a checkpoint at the end of each epoch."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmsc_cli.errors import MmscError
from mmsc_cli.model.behaviour import Surroundings
from mmsc_cli.model.mmsc import Mmsc, Vectors
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.checkpoint import Checkpoints
from mmsc_cli.runtime.machine.memory import is_out_of_memory
from mmsc_cli.runtime.progress import SILENT, Progress, Task
from mmsc_cli.runtime.seeds import torch_generator
from mmsc_cli.train.loop.data import PART, Problem, View, masked_views
from mmsc_cli.train.loop.step import ChunkSize, Step
from mmsc_cli.train.settings import TrainSettings

_LOG = logging.getLogger(__name__)

# Learning rates relative to that of the item vectors; found on validation (docs/experiments.md, 2026-11-23).
HEAD_RATE = 1 / 20
ADAPTER_RATE = 1 / 50
LARGEST_GRADIENT = 5.0
# A step propagates over the whole catalogue, so a larger one gets larger steps, not more.
STEPS_PER_EPOCH = 20
SMALLEST_BATCH = 256


@dataclass(frozen=True)
class Fitted:
    """The best epoch's vectors, and the figures of every epoch."""

    vectors: Vectors
    history: list[dict[str, float]]


def fit(
    model: Mmsc,
    problem: Problem,
    settings: TrainSettings,
    validate: Callable[[Vectors], dict[str, float]] | None,
    seed: int,
    use_agreement: bool = True,
    checkpoints: Checkpoints | None = None,
    progress: Progress = SILENT,
) -> Fitted:
    """Train until validation stops improving; the model is left at its best epoch.

    A run that resumes from a checkpoint goes through the same states as one that was never interrupted, bit by bit on a
    CPU.

    Args:
        model: on the problem's device; changed in place.
        problem: the data.
        settings: epochs, patience, learning rate and the rest.
        validate: figures of a set of vectors; `ndcg@10` among them decides. None: the last epoch is the best.
        seed: of all random choices.
        use_agreement: whether the two views must agree.
        checkpoints: where to save the state, and to resume from; None: nowhere.
        progress: counts steps and figures.

    Raises:
        MmscError: the loss or its gradient is not a number, or the checkpoint must be resumed and cannot be.
        MemoryError: there is too little memory for the smallest chunks.
    """
    chunks = ChunkSize()
    loop = _Loop(model, problem, settings, Step(model, problem, settings, use_agreement, chunks), seed)
    return loop.run(validate, checkpoints, progress)


@torch.no_grad()
def answer(model: Mmsc, problem: Problem, around: Surroundings) -> Vectors:
    """Query and key vectors with the given surroundings, nothing dropped."""
    model.eval()
    if len(problem.items) > PART:
        return model.in_parts(problem.parts, around)
    answered: Vectors = model(problem.items, around)
    return answered


def write_history(path: Path, history: Sequence[dict[str, float]]) -> None:
    """Write the figures of every epoch as JSON lines, atomically."""
    with atomic_write(path) as file:
        file.write("".join(json.dumps(epoch) + "\n" for epoch in history).encode())


@dataclass
class _Position:
    """How far the loop is; `history` has the figures of the epochs that are done."""

    best: float = -1.0
    since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        return len(self.history)


class _Loop:
    def __init__(self, model: Mmsc, problem: Problem, settings: TrainSettings, step: Step, seed: int) -> None:
        self._model = model
        self._problem = problem
        self._settings = settings
        self._step = step
        self._generator = torch_generator(seed, "train")
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
            total_steps=max(2, self._steps * settings.epochs),
            pct_start=0.1,
        )
        self._position = _Position()
        self._best = _copy(model)

    def run(
        self,
        validate: Callable[[Vectors], dict[str, float]] | None,
        checkpoints: Checkpoints | None,
        progress: Progress,
    ) -> Fitted:
        if checkpoints and (saved := checkpoints.load()):
            self._restore(saved)
        position = self._position
        seen = self._problem.everything_seen()
        with progress.task("Training", self._settings.epochs * self._steps) as task:
            task.advance(position.epoch * self._steps)
            while position.epoch < self._settings.epochs and position.since_best < self._settings.patience:
                started = time.monotonic()
                loss = self._train_epoch(task)
                valid = validate(answer(self._model, self._problem, seen)) if validate else {"ndcg@10": position.epoch}
                figures = {"epoch": position.epoch + 1, "loss": loss, **valid}
                self._close_epoch({**figures, "seconds": time.monotonic() - started}, task)
                if checkpoints:
                    checkpoints.save(self._state())
                    write_history(checkpoints.folder / "metrics.jsonl", position.history)
        self._model.load_state_dict(self._best)
        return Fitted(answer(self._model, self._problem, seen), position.history)

    def _train_epoch(self, task: Task) -> float:
        """Take the steps of an epoch; return their mean loss."""
        self._model.train()
        views = masked_views(self._problem, self._settings.play_cold, self._generator)
        order = self._rows[torch.randperm(len(self._rows), generator=self._generator).to(self._rows.device)]
        total = 0.0
        for number, batch in enumerate(torch.split(order, self._batch_queries), 1):
            total += self._take_step(views, batch)
            task.advance()
            task.show(epoch=self._position.epoch + 1, loss=total / number)
        return total / max(1, self._steps)

    def _take_step(self, views: tuple[View, View], batch: torch.Tensor) -> float:
        self._optimiser.zero_grad()
        loss = self._gradient(views, batch)
        norm = float(torch.nn.utils.clip_grad_norm_(self._model.parameters(), LARGEST_GRADIENT))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = "gradient" if math.isfinite(loss) else "loss"
            lower = self._settings.learning_rate / 3
            raise MmscError(
                f"the training {what} is not a number in epoch {self._position.epoch + 1}",
                hint=f"lower the learning rate: --set train.learning_rate={lower:.2g}",
            )
        self._optimiser.step()
        self._schedule.step()
        return loss

    def _gradient(self, views: tuple[View, View], batch: torch.Tensor) -> float:
        """The loss of a step, its gradient left in the parameters; in smaller chunks if memory runs out."""
        streams = self._generator.get_state(), torch.get_rng_state()
        while True:
            try:
                return self._step(views, batch, self._generator)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._step.chunks.halve(error)
            # What the failed try left is dropped, and its random choices are made again.
            self._optimiser.zero_grad()
            self._generator.set_state(streams[0])
            torch.set_rng_state(streams[1])
            if batch.device.type == "cuda":
                torch.cuda.empty_cache()

    def _close_epoch(self, figures: dict[str, float], task: Task) -> None:
        position = self._position
        position.history.append(figures)
        if figures["ndcg@10"] > position.best:
            position.best, position.since_best = figures["ndcg@10"], 0
            self._best = _copy(self._model)
        else:
            position.since_best += 1
        _LOG.debug("epoch %d: loss %.4f, validation NDCG@10 %.4f", position.epoch, figures["loss"], figures["ndcg@10"])
        task.show(epoch=position.epoch, loss=figures["loss"], valid=figures["ndcg@10"])

    def _state(self) -> dict[str, Any]:
        schedule = self._schedule.state_dict()
        return {
            "position": asdict(self._position),
            "model": self._model.state_dict(),
            "best": self._best,
            "optimiser": self._optimiser.state_dict(),
            "schedule": {name: value for name, value in schedule.items() if _is_plain(value)},
            "logits": self._step.chunks.logits,
            "random": {"loop": self._generator.get_state(), "global": torch.get_rng_state()},
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._position = _Position(**state["position"])
        self._model.load_state_dict(state["model"])
        device = self._rows.device
        self._best = {name: tensor.to(device) for name, tensor in state["best"].items()}
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self._step.chunks.logits = state["logits"]
        self._generator.set_state(state["random"]["loop"])
        torch.set_rng_state(state["random"]["global"])
        _LOG.info("training continues in epoch %d", self._position.epoch + 1)


def _copy(model: Mmsc) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | list | None)


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
