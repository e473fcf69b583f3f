"""How many processor cores there are for us."""

from __future__ import annotations

import os

from mmsc_cli.runtime.memory import address_space_limit

# A thread or process of its own maps libraries, a stack and an arena, and holds a block of its own work.
_ADDRESS_SPACE_A_CORE = 2 << 30


def usable_cores() -> int:
    """Cores this process may run on, which in a container can be fewer than the machine has.

    Where the address space is limited, no more of them than it has room for.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = address_space_limit()
    return cores if limit is None else max(1, min(cores, limit // _ADDRESS_SPACE_A_CORE))
