"""The state of a training between two steps: all that decides how it goes on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from mmsc_cli.model.mmsc import Mmsc
from mmsc_cli.train.memory import ChunkSize

_LOG = logging.getLogger("mmsc_cli")


@dataclass
class Position:
    """How far the loop is. `batch` steps of `epoch` are done; `history` has the figures of the epochs before."""

    epoch: int = 0
    batch: int = 0
    steps: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    best: float = -1.0
    since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class TrainingState:
    """Weights, the best weights so far, optimiser, schedule, random streams and position."""

    def __init__(
        self,
        model: Mmsc,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        generator: torch.Generator,
        chunks: ChunkSize,
    ) -> None:
        self.position = Position()
        self.best = model.state_dict()
        self.epoch_stream = generator.get_state()
        self._model = model
        self._optimiser = optimiser
        self._schedule = schedule
        self._generator = generator
        self._chunks = chunks

    def keep_best(self) -> None:
        """Remember the weights as the best so far."""
        self.best = {name: value.detach().clone() for name, value in self._model.state_dict().items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors of a checkpoint."""
        found = {f"model/{name}": tensor for name, tensor in self._model.state_dict().items()}
        if self.position.history:
            found |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for number, moments in self._optimiser.state_dict()["state"].items():
            found |= {f"optimiser/{number}/{name}": tensor for name, tensor in moments.items()}
        streams = {"now": self._generator.get_state(), "epoch": self.epoch_stream, "global": torch.get_rng_state()}
        return found | {f"random/{name}": tensor for name, tensor in streams.items()}

    def values(self) -> dict[str, Any]:
        """All else of it, as JSON values."""
        groups = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self._optimiser.state_dict()["param_groups"]
        ]
        return {
            "position": asdict(self.position),
            "groups": groups,
            "schedule": {name: value for name, value in self._schedule.state_dict().items() if _is_plain(value)},
            "chunks": asdict(self._chunks),
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Go back to the state of a checkpoint."""
        self.position = Position(**values["position"])
        self._model.load_state_dict(_under("model/", tensors))
        device = next(self._model.parameters()).device
        if self.position.history:
            self.best = {name: tensor.to(device) for name, tensor in _under("best/", tensors).items()}
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in _under("optimiser/", tensors).items():
            number, key = name.split("/")
            moments.setdefault(int(number), {})[key] = tensor
        params = [group["params"] for group in self._optimiser.state_dict()["param_groups"]]
        groups = [{**group, "params": numbers} for group, numbers in zip(values["groups"], params, strict=True)]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self._schedule.load_state_dict(dict(values["schedule"]))
        self._chunks.logits = values["chunks"]["logits"]
        streams = _under("random/", tensors)
        self.epoch_stream = streams["epoch"]
        self._generator.set_state(streams["now"])
        torch.set_rng_state(streams["global"])
        _LOG.info("training continues in epoch %d, after %d steps", self.position.epoch + 1, self.position.steps)


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | list | None)
