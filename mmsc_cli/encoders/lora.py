"""Low-rank matrices inside the frozen towers: put in to be trained, kept apart from the weights, and added to them.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022. Training them takes peft; using
them takes nothing but a matrix product, so that peft is not needed for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from open_clip.modified_resnet import AttentionPool2d
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.workspace.checksums import digest

RANK = 8
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


def inject_lora(model: nn.Module, name: str, seed: int) -> dict[str, Tensor]:
    """Put low-rank matrices beside the linear layers, to be trained; they change nothing at first.

    Args:
        model: whose weights are frozen.
        name: of the encoder, for messages.
        seed: of the first values.

    Returns:
        What is to be trained, by name.

    Raises:
        InputError: peft is not installed, or there are no linear layers.
    """
    targets = list(_linear_layers(model))
    if not targets:
        raise InputError(
            f"--adapt: {name} has no linear layers to adapt", hint="--set encode.adapt_with=projection does without"
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError(
            "--adapt trains the towers with peft, which is not installed",
            hint="pip install 'mmsc-cli[adapt]', or --set encode.adapt_with=projection",
        ) from error
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=targets), model)
    model.to(device)
    return {path: tensor for path, tensor in model.named_parameters() if tensor.requires_grad}


def trained_matrices(model: nn.Module) -> dict[str, Tensor]:
    """What became of the matrices that `inject_lora` put in, for `save_lora`."""
    from peft.tuners.lora import LoraLayer

    found: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        if isinstance(module, LoraLayer):
            for adapter, down in module.lora_A.items():
                found[path + _DOWN] = down.weight
                found[path + _UP] = module.lora_B[adapter].weight * module.scaling[adapter]
    return found


def _linear_layers(model: nn.Module) -> Iterator[str]:
    """Paths of the linear layers that are called; those inside an attention are only read by it."""
    inside_attention = tuple(path + "." for path, module in model.named_modules() if _reads_its_layers(module))
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) and not path.startswith(inside_attention):
            yield path


def _reads_its_layers(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention | AttentionPool2d)
