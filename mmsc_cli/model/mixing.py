"""Mixing channels by gates, the products of many small matrices, in blocks of rows that stay in a CPU's cache.

torch's batched product of matrices this small (heads x channels by channels x dim) takes most of its time for anything
but arithmetic, and needs all channels copied into one tensor first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

BLOCK_ROWS = 512


def mix(gate: torch.Tensor, channels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Weighted sums of channels, (rows, heads, dim), from gates (rows, heads, channels) and channels (rows, dim)."""
    if gate.device.type != "cpu":
        return torch.bmm(gate, torch.stack(list(channels), dim=1))
    mixed_rows: torch.Tensor = _Mix.apply(gate, *channels)
    return mixed_rows


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, *channels: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, *channels)
        rows, heads, _ = gate.shape
        mixed = channels[0].new_zeros(rows, heads, channels[0].shape[1])
        for block in _blocks(rows):
            sums, weights = mixed[block], gate[block]
            for number, channel in enumerate(channels):
                sums.addcmul_(weights[:, :, number, None], channel[block, None, :])
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gate, *channels = ctx.saved_tensors
        to_gate = torch.empty_like(gate)
        to_channels = [torch.empty_like(channel, memory_format=torch.contiguous_format) for channel in channels]
        for block in _blocks(len(gate)):
            above, weights = gradient[block], gate[block]
            for number, channel in enumerate(channels):
                torch.sum(above * channel[block, None, :], dim=2, out=to_gate[block, :, number])
                torch.sum(above * weights[:, :, number, None], dim=1, out=to_channels[number][block])
        return to_gate, *to_channels


def _blocks(rows: int) -> list[slice]:
    return [slice(start, start + BLOCK_ROWS) for start in range(0, rows, BLOCK_ROWS)]
