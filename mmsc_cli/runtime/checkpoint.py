"""Checkpoints of a training, in a folder that outlives the run.

A checkpoint is one safetensors file. The tensors of the state are its tensors; numbers, texts and lists are JSON in its
metadata, with a fingerprint of the run and a checksum of it all: safetensors itself does not notice a flipped bit. The
file is replaced atomically, so a killed run leaves the last checkpoint or the one before.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from mmsc_cli.errors import InputError
from mmsc_cli.runtime.atomic import atomic_write

Resume = Literal["auto", "must", "never"]
CHECKPOINT = "checkpoint.safetensors"
_LOG = logging.getLogger(__name__)


class Checkpoints:
    """The folder that holds the latest checkpoint of one training."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], resume: Resume = "auto") -> None:
        """Take the folder; the first checkpoint creates it.

        Args:
            folder: where the checkpoint is.
            fingerprint: JSON values, equal for runs that end the same.
            resume: resume if the checkpoint matches (auto), fail if it does not (must), or start over (never).
        """
        self.folder = folder
        self._fingerprint = json.loads(json.dumps(fingerprint))
        self._resume = resume

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint.

        Args:
            state: nested mappings and lists of tensors and JSON values, such as `state_dict()` returns; no two of its
                tensors may share memory.
        """
        tensors: dict[str, torch.Tensor] = {}
        metadata = {
            "fingerprint": json.dumps(self._fingerprint),
            "state": json.dumps(_take_out_tensors(state, "", tensors)),
        }
        metadata["sha256"] = _checksum(tensors, metadata)
        self.folder.mkdir(exist_ok=True)  # not its parents: a workspace that was deleted stays deleted
        with atomic_write(self.folder / CHECKPOINT) as file:
            file.write(save(tensors, metadata))

    def load(self) -> dict[str, Any] | None:
        """Return the state last saved, its tensors on the CPU; None if there is nothing to resume from.

        Raises:
            InputError: the run must resume, and the checkpoint is damaged or of another run.
        """
        path = self.folder / CHECKPOINT
        if self._resume == "never" or not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                metadata: dict[str, str] = file.metadata()
                difference = _differences(json.loads(metadata["fingerprint"]), self._fingerprint)
                if not difference:
                    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
                    if metadata["sha256"] != _checksum(tensors, metadata):
                        raise ValueError("checksum mismatch")
                    state: dict[str, Any] = _put_tensors_back(json.loads(metadata["state"]), tensors)
                    return state
            reason = f"of a run with another {', '.join(difference)}"
        except (ValueError, KeyError, TypeError, OSError, SafetensorError) as error:
            reason = f"damaged: {error}"
        if self._resume == "must":
            raise InputError(
                f"--resume: the checkpoint in {self.folder} is {reason}",
                hint="use the settings of that run, or start over with --no-resume",
            )
        _LOG.warning("the checkpoint in %s is %s: training starts over", self.folder, reason)
        return None

    def remove(self) -> None:
        """Delete the folder: the training is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _take_out_tensors(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Put the tensors of a nested value into `tensors` by their path; return the rest as JSON that refers to them."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):  # as pairs, because JSON turns numbers that are keys into texts
        return {"mapping": [[key, _take_out_tensors(inner, f"{name}/{key}", tensors)] for key, inner in value.items()]}
    if isinstance(value, list | tuple):
        return [_take_out_tensors(inner, f"{name}/{number}", tensors) for number, inner in enumerate(value)]
    return value


def _put_tensors_back(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_put_tensors_back(inner, tensors) for inner in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    return {key: _put_tensors_back(inner, tensors) for key, inner in value["mapping"]}


def _checksum(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    whole = sha256(f"{metadata['fingerprint']}\0{metadata['state']}".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        whole.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def _differences(saved: Any, wanted: Any, path: str = "") -> list[str]:
    """Return the dotted names of the values that differ between two fingerprints."""
    if not (isinstance(saved, dict) and isinstance(wanted, dict)):
        return [] if saved == wanted else [path]
    return [
        name
        for key in sorted(saved.keys() | wanted.keys())
        for name in _differences(saved.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))
    ]
