"""Send inputs through a model in batches, at the precision and size that the device allows."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from mmsc_cli.encoders.encoder import DEFAULT_BATCH
from mmsc_cli.errors import NotEnoughMemoryError
from mmsc_cli.runtime.machine.memory import is_out_of_memory

# A GPU is fully used long before.
LARGEST_BATCH = 1_024
_LOG = logging.getLogger(__name__)


def half_precision(device: torch.device) -> torch.dtype | None:
    """Return bfloat16 for newer CUDA devices, float16 for older ones, None for other devices."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def fitting_batch(device: torch.device, forward: Callable[[int], object]) -> int:
    """Return the largest batch that fits the device's memory, a power of two up to 1,024; on a CPU always 64.

    Memory decides, not speed, so that the same machine finds the same size again. On a CPU larger batches are not
    faster.

    Args:
        device: where the model is.
        forward: sends N made-up inputs through the model.
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
    """Send inputs through a model in batches; the batch is halved each time that memory runs out.

    Args:
        count: number of inputs, at least one.
        size: of the first batch.
        device: where the model is.
        forward: encodes the inputs of a slice; returns (inputs, dim).

    Returns:
        The vectors, (count, dim), and the size of the last batch.

    Raises:
        NotEnoughMemoryError: not even one input fits.
    """
    batches: list[NDArray[np.float32]] = []
    start = 0
    while start < count:
        batch = slice(start, min(start + size, count))
        try:
            batches.append(forward(batch).float().cpu().numpy())
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise NotEnoughMemoryError(
                    f"the memory of {device} does not hold one input of this encoder",
                    hint="use a smaller --encoder" + ("" if device.type == "cpu" else ", or --device cpu"),
                ) from error
            size //= 2
            _LOG.warning("out of memory on %s: continuing with batches of %d", device, size)
        else:
            start = batch.stop
            continue
        # The error holds the tensors of the failed batch and is gone only here.
        _release(device)
    return np.concatenate(batches), size


def encode_by_length(
    lengths: NDArray[np.int64],
    size: int,
    device: torch.device,
    forward: Callable[[NDArray[np.int64]], torch.Tensor],
) -> tuple[NDArray[np.float32], int]:
    """Do the same with texts, the shortest first, so that a batch needs little padding.

    Args:
        lengths: (texts,), of at least one text.
        size: of the first batch.
        device: where the model is.
        forward: encodes the texts of these positions; returns (texts, dim).
    """
    order = np.argsort(lengths, kind="stable")
    by_length, size = encode_in_batches(len(order), size, device, lambda batch: forward(order[batch]))
    vectors = np.empty_like(by_length)
    vectors[order] = by_length
    return vectors, size


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
