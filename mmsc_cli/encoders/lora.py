"""Low-rank matrices in the frozen towers: injected for training, saved apart from the weights, and added to them.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022. Only training needs peft.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn

from mmsc_cli.encoders.weights import read_weights, write_weights
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.runtime.installation import extra_command

RANK = 8
_FILE = "lora.safetensors"
_DOWN, _UP = ".down", ".up"
_COMMAND = "mmsc encode --adapt"


def save_lora(folder: Path, matrices: Mapping[str, Tensor]) -> str:
    """Write `lora.safetensors` and return its sha256.

    Args:
        folder: where to write it.
        matrices: for each linear layer, its path in the model with `.down` (rank, inputs) and `.up` (outputs, rank).
    """
    return write_weights(folder / _FILE, {name: tensor.detach().cpu().numpy() for name, tensor in matrices.items()})


def open_lora(folder: Path, digest: str | None = None) -> dict[str, Tensor]:
    """Read what `save_lora` wrote.

    Raises:
        WorkspaceError: the file is missing, damaged, or not the one of this sha256.
    """
    return {name: torch.tensor(array) for name, array in read_weights(folder / _FILE, digest, _COMMAND).items()}


@torch.no_grad()
def apply_lora(model: nn.Module, matrices: Mapping[str, Tensor]) -> None:
    """Add the low-rank matrices to the weights of their layers.

    Raises:
        WorkspaceError: the matrices belong to another model.
    """
    try:
        for name, down in matrices.items():
            if name.endswith(_DOWN):
                path = name.removesuffix(_DOWN)
                weight: Tensor = model.get_parameter(f"{path}.weight")
                weight += (matrices[path + _UP] @ down).to(weight)
    except (AttributeError, KeyError, RuntimeError) as error:
        raise WorkspaceError(
            f"the adapter belongs to another model: {error}", hint=f"run `{_COMMAND}` again"
        ) from error


def inject_lora(model: nn.Module, name: str, seed: int) -> dict[str, Tensor]:
    """Put trainable low-rank matrices beside the linear layers; before training they change no output.

    Args:
        model: its weights are frozen.
        name: of the encoder, for messages.
        seed: of the initial values.

    Returns:
        The parameters to train, by name.

    Raises:
        InputError: peft is not installed, or the model has no linear layers.
    """
    targets = list(_linear_layers(model))
    if not targets:
        raise InputError(
            f"--adapt: {name} has no linear layers to adapt", hint="use --set encode.adapt_with=projection"
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415  an extra
    except ImportError as error:
        raise InputError(
            "--adapt trains the towers with peft, which is not installed",
            hint=f"{extra_command('adapt')}, or use --set encode.adapt_with=projection",
        ) from error
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=targets), model)
    model.to(device)
    return {path: tensor for path, tensor in model.named_parameters() if tensor.requires_grad}


def trained_matrices(model: nn.Module) -> dict[str, Tensor]:
    """Return the matrices that `inject_lora` injected, as `save_lora` takes them."""
    from peft.tuners.lora import LoraLayer  # noqa: PLC0415  an extra

    matrices: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        if isinstance(module, LoraLayer):
            for adapter, down in module.lora_A.items():
                matrices[path + _DOWN] = down.weight
                matrices[path + _UP] = module.lora_B[adapter].weight * module.scaling[adapter]
    return matrices


def _linear_layers(model: nn.Module) -> Iterator[str]:
    """Yield the paths of the linear layers that are called; an attention reads the weights of its own instead."""
    attention = (nn.MultiheadAttention, AttentionPool2d)
    inside = tuple(path + "." for path, module in model.named_modules() if isinstance(module, attention))
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) and not path.startswith(inside):
            yield path
