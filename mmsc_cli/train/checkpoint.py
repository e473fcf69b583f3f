"""Checkpoints of a training under way: tensors as safetensors, all else as JSON, in a folder that outlives the run.

`checkpoint.json` is replaced last and names its tensors' file, so that killed at any moment the folder holds one whole
checkpoint. It carries a fingerprint of what was asked for and of what was read: another run's is never continued. And
it carries a checksum of it all: a flipped bit would be trained on without a word.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from mmsc_cli.errors import InputError
from mmsc_cli.runtime.atomic import atomic_write, write_json

_LOG = logging.getLogger("mmsc_cli")
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
