"""How many queries are scored at a time."""

from __future__ import annotations

from mmsc_cli.runtime.machine.cores import usable_cores
from mmsc_cli.runtime.machine.memory import available_memory

# Maximum size of the scores of a block of queries; larger blocks are hardly faster.
BLOCK_BYTES = 64 * 2**20
# Fraction of the free memory that the scores of all cores together may take.
_FRACTION_OF_MEMORY = 1 / 16


def block_size(n_items: int) -> int:
    """The number of queries that each core scores at a time against a catalogue of `n_items`."""
    room = min(BLOCK_BYTES, int(available_memory() * _FRACTION_OF_MEMORY) // usable_cores())
    return max(1, room // (4 * max(n_items, 1)))
