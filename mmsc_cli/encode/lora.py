"""Low-rank matrices inside the frozen towers: where they are kept, and how they are put in.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022. Training them is peft's
(`fine_tuning`); to use them it takes nothing but a matrix product, so that peft is not needed for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmsc_cli.atomic import atomic_write
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.workspace import digest

_WEIGHTS = "lora.safetensors"
_DOWN, _UP = ".down", ".up"


def save_lora(folder: Path, matrices: Mapping[str, Tensor]) -> str:
    """Write `lora.safetensors` and return its sha256.

    Args:
        folder: where to.
        matrices: per linear layer its path in the model with `.down` (rank, inputs) and `.up` (outputs, rank).
    """
    with atomic_write(folder / _WEIGHTS) as file:
        file.write(save({name: tensor.detach().cpu().contiguous() for name, tensor in matrices.items()}))
    return digest(folder / _WEIGHTS)


def open_lora(folder: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Read what `save_lora` wrote.

    Raises:
        WorkspaceError: it is missing, damaged, or not the one of that sha256.
    """
    path = folder / _WEIGHTS
    try:
        if sha256 is not None and digest(path) != sha256:
            raise WorkspaceError(f"{path} is not the one encoder.json names", hint="run `mmsc encode --adapt` again")
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise WorkspaceError(f"{path} is damaged: {error}", hint="run `mmsc encode --adapt` again") from error


@torch.no_grad()
def apply_lora(model: nn.Module, matrices: Mapping[str, Tensor]) -> None:
    """Add the low-rank matrices to the weights of the layers they are for.

    Raises:
        WorkspaceError: they are of another model.
    """
    try:
        for name, down in matrices.items():
            if name.endswith(_DOWN):
                path = name.removesuffix(_DOWN)
                weight: Tensor = model.get_parameter(f"{path}.weight")
                weight += (matrices[path + _UP] @ down).to(weight)
    except (AttributeError, KeyError, RuntimeError) as error:
        raise WorkspaceError(
            f"the adapter is of another model than this one: {error}", hint="run `mmsc encode --adapt` again"
        ) from error


def matrices_of(name: str, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    """The two matrices of a layer under the names they are kept by; `up` with the scale in it."""
    return {name + _DOWN: down, name + _UP: up}
