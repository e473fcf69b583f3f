"""How inputs go through a model: how precisely, and how many at a time, fewer once memory has run out."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from mmsc_cli.encoders.encoder import DEFAULT_BATCH
from mmsc_cli.errors import NotEnoughMemoryError
from mmsc_cli.runtime.memory import is_out_of_memory

# Beyond it a GPU is busy anyway, and an interrupted run would lose more.
LARGEST_BATCH = 1_024
_LOG = logging.getLogger("mmsc_cli")


def half_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 on newer CUDA devices, float16 on older ones, nothing of the kind elsewhere."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def fitting_batch(device: torch.device, forward: Callable[[int], object]) -> int:
    """The largest power of two that the device's memory holds, up to LARGEST_BATCH.

    Memory decides, not speed, so that the same machine finds the same size again. On a CPU, where memory is no
    limit and more at a time is no faster, DEFAULT_BATCH.

    Args:
        device: where the model is.
        forward: sends so many made-up inputs through it.
    """
    size = DEFAULT_BATCH
    while device.type == "cuda" and size < LARGEST_BATCH:
        try:
            forward(2 * size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
        size *= 2
    _release(device)
    return size


def encode_in_batches(
    count: int, size: int, device: torch.device, forward: Callable[[slice], torch.Tensor]
) -> tuple[NDArray[np.float32], int]:
    """Send `count` inputs through a model, `size` at a time, half as many each time that memory runs out.

    Args:
        count: of the inputs, at least one.
        size: of a batch at first.
        device: where the model is.
        forward: encodes the inputs of a slice; shape (inputs, dim).

    Returns:
        The vectors, shape (count, dim), and the size of the last batch.

    Raises:
        NotEnoughMemoryError: not even one input fits.
    """
    parts: list[NDArray[np.float32]] = []
    start = 0
    while start < count:
        part = slice(start, min(start + size, count))
        try:
            parts.append(forward(part).float().cpu().numpy())
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise NotEnoughMemoryError(
                    f"the memory of {device} does not hold one input of this encoder",
                    hint="use a smaller --encoder"
                    if device.type == "cpu"
                    else "use --device cpu, or a smaller --encoder",
                ) from error
            size //= 2
            _LOG.warning("out of memory on %s: going on with batches of %d", device, size)
        else:
            start = part.stop
            continue
        # Only here is the error, which holds on to the tensors of the failed batch, gone.
        _release(device)
    return np.concatenate(parts), size


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
