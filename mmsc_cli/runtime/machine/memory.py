"""How much memory this process may still take, and how libraries report that memory ran out."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path

from mmsc_cli.runtime.machine.control_groups import control_groups

_UNLIMITED = 1 << 60  # where there is no limit, the first version of control groups writes one near 2**63
_FILES = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}
# Messages of allocators, the dynamic loader (which says nearly the same of a disk mounted noexec), threads, processes
# and GPUs.
_SIGNS = re.compile(
    r"out of memory|can(?:no|')t allocate memory|failed to map segment(?!.*not permitted)|bad.?alloc|"
    r"unable to allocate|can't start new thread|excessive memory usage",
    re.IGNORECASE,
)


def available_memory(root: Path = Path("/")) -> int:
    """Return the bytes this process may still take: what the machine and its control groups leave, the least of them.

    Args:
        root: the folder that has `proc` and `sys`.
    """
    return max(0, min([_machine(root), *_left_by_groups(root)]))


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised from, reports that memory ran out, in any library's words."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, RuntimeError | ImportError | OSError) and _SIGNS.search(str(error)):
            return True
        if type(error).__name__ == "OutOfMemoryException":  # DuckDB's, which need not be imported here
            return True
        error = error.__cause__
    return False


def _machine(root: Path) -> int:
    with suppress(OSError, StopIteration, ValueError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _left_by_groups(root: Path) -> list[int]:
    """Bytes that each limited control group of this process leaves."""
    left = []
    for version, group in control_groups("memory", root):
        limit, usage = _FILES[version]
        with suppress(OSError, ValueError):  # no limit ("max"), or none in this group
            allowed = int((group / limit).read_text())
            if allowed < _UNLIMITED:
                left.append(allowed - int((group / usage).read_text()) + _cache(group))
    return left


def _cache(group: Path) -> int:
    """Bytes of cached files in a control group, which it frees when memory is needed."""
    with suppress(OSError, ValueError):
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0
