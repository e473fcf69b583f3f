"""Checkpoints of a training under way: tensors as safetensors, all else as JSON, in a folder that outlives the run.

`checkpoint.json` is replaced last and names its tensors' file, so that killed at any moment the folder holds one whole
checkpoint. It carries a fingerprint of what was asked for and of what was read: another run's is never continued. And
it carries a checksum of it all: a flipped bit would be trained on without a word.

The state of a training between two steps: all that decides how it goes on."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from mmsc_cli.errors import InputError
from mmsc_cli.model.mmsc import Mmsc
from mmsc_cli.runtime.atomic import atomic_write, write_json
from mmsc_cli.train.loop.step import ChunkSize

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


Resume = Literal["auto", "must", "never"]


class Checkpoints:
    """The folder of one training's checkpoints and its figures so far."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], resume: Resume = "auto") -> None:
        """Take the folder; it is made with the first checkpoint.

        Args:
            folder: where they lie.
            fingerprint: JSON values, equal for runs that would end the same.
            resume: continue where a checkpoint fits (auto), refuse one that does not (must), or begin anew (never).
        """
        self._folder = folder
        self._fingerprint = json.loads(json.dumps(fingerprint))
        self._resume = resume

    def load(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """The tensors and values last saved; None where there is nothing to continue.

        Raises:
            InputError: there must be something to continue, and it is of another run or damaged.
        """
        path = self._folder / "checkpoint.json"
        if self._resume == "never" or not path.exists():
            return None
        try:
            content = json.loads(path.read_bytes())
            difference = _differences(content["fingerprint"], self._fingerprint)
            if not difference:
                tensors = (self._folder / content["tensors"]).read_bytes()
                if content["sha256"] != _checksum(tensors, content["values"]):
                    raise ValueError("its checksum is another")
                return load(tensors), content["values"]
            reason = f"of a run with another {', '.join(difference)}"
        except (ValueError, KeyError, TypeError, OSError, SafetensorError) as error:
            reason = f"damaged: {error}"
        if self._resume == "must":
            raise InputError(
                f"--resume: the checkpoint in {self._folder} is {reason}",
                hint="run it as that one was run, or begin anew with --no-resume",
            )
        _LOG.warning("the checkpoint in %s is %s: training begins anew", self._folder, reason)
        return None

    def save(self, number: int, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Replace the checkpoint.

        Args:
            number: larger than that of every earlier one of the run.
            tensors: by name.
            values: JSON values.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"step-{number:09d}.safetensors"
        packed = save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()})
        with atomic_write(self._folder / name) as file:
            file.write(packed)
        content = {"fingerprint": self._fingerprint, "tensors": name, "values": dict(values)}
        write_json(self._folder / "checkpoint.json", content | {"sha256": _checksum(packed, values)})
        for other in self._folder.glob("step-*.safetensors"):
            if other.name != name:
                other.unlink()

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write the figures of the epochs so far, one JSON object a line."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_history(self._folder / "metrics.jsonl", history)

    def remove(self) -> None:
        """Delete the folder: the run is over."""
        shutil.rmtree(self._folder, ignore_errors=True)


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write the figures of every epoch as JSON lines, atomically."""
    with atomic_write(path) as file:
        file.write("".join(json.dumps(epoch) + "\n" for epoch in history).encode())


def _checksum(tensors: bytes, values: Mapping[str, Any]) -> str:
    return sha256(tensors + json.dumps(values, sort_keys=True).encode()).hexdigest()


def _differences(saved: Any, wanted: Any, where: str = "") -> list[str]:
    """Dotted names of what differs between two fingerprints."""
    if not (isinstance(saved, dict) and isinstance(wanted, dict)):
        return [] if saved == wanted else [where]
    return [
        name
        for key in sorted(saved.keys() | wanted.keys())
        for name in _differences(saved.get(key), wanted.get(key), f"{where}.{key}".lstrip("."))
    ]
