"""Exact search: the best rows of scores, block by block, on as many threads as there are cores."""

from __future__ import annotations

from mmsc_cli.runtime.cores import usable_cores
from mmsc_cli.runtime.memory import available_memory

# The scores of a block of queries against the whole catalogue, at most; larger blocks are hardly faster.
BLOCK_BYTES = 64 * 2**20
# All cores together take no more than this share of the free memory for scores.
_SHARE_OF_MEMORY = 1 / 16


def block_size(items: int) -> int:
    """How many queries each core of this machine scores at a time against a catalogue of so many items."""
    room = min(BLOCK_BYTES, int(available_memory() * _SHARE_OF_MEMORY) // usable_cores())
    return max(1, room // (4 * max(items, 1)))
