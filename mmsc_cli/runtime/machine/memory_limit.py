"""A limit on what this process takes, for libraries that allocate what a stranger's file asks for."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")


@contextmanager
def limited_growth(size: int) -> Iterator[None]:
    """Let the memory of this process grow by at most `size` bytes; what needs more gets a MemoryError.

    Only Linux limits it so; elsewhere nothing is limited.
    """
    taken = _private_memory()
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = taken + size
    if taken == 0 or (soft != resource.RLIM_INFINITY and soft <= wanted):
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _private_memory() -> int:
    """Bytes that count against the limit; 0 where nobody knows."""
    try:
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:"))
    except (OSError, StopIteration, ValueError):
        return 0
