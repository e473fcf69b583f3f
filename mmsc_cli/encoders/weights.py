"""Weights that mmsc itself fitted, beside the `encoder.json` that holds their sha256."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.atomic import atomic_write


def write_weights(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write arrays as safetensors, atomically, and return the sha256 of the file."""
    content = save(dict(arrays))
    with atomic_write(path) as file:
        file.write(content)
    return sha256(content).hexdigest()


def read_weights(path: Path, digest: str | None, command: str) -> dict[str, NDArray[Any]]:
    """Read what `write_weights` wrote.

    Args:
        path: the file.
        digest: its sha256; None: unknown.
        command: the command that writes it again, for the hint.

    Raises:
        WorkspaceError: the file is missing, damaged, or has another sha256.
    """
    try:
        content = path.read_bytes()
        if digest not in (None, sha256(content).hexdigest()):
            raise SafetensorError("it is not the one that encoder.json names")
        return load(content)
    except (OSError, SafetensorError) as error:
        raise WorkspaceError(f"{path} is damaged: {error}", hint=f"run `{command}` again") from error
