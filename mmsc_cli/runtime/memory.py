"""How much memory this process may still take, and how libraries say that there is none left."""

from __future__ import annotations

import errno
import os
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

from mmsc_cli.errors import NotEnoughMemoryError

# Below such a limit on the address space, what threads map for comfort counts: two GiB are gone before work begins.
SMALL_ADDRESS_SPACE = 8 << 30
# With less, loading the numerical libraries alone fails here or there.
LEAST_ADDRESS_SPACE = 640 << 20
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_ARENAS_VARIABLE, _ARENAS_PARAMETER = "MALLOC_ARENA_MAX", -8  # glibc's names for the same thing
_UNLIMITED = 1 << 60  # what the first version of control groups calls no limit is near 2**63
# Of allocators, the dynamic loader (which says nearly the same of a disk mounted noexec), threads, processes and GPUs.
_SIGNS = re.compile(
    r"out of memory|can(?:no|')t allocate memory|failed to map segment(?!.*not permitted)|bad.?alloc|"
    r"unable to allocate|can't start new thread|excessive memory usage",
    re.IGNORECASE,
)


def address_space_limit() -> int | None:
    """Bytes of address space that this process may map (`ulimit -v`); None: as many as it likes."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def has_small_address_space() -> bool:
    """Whether there is a limit on the address space that must be reckoned with."""
    limit = address_space_limit()
    return limit is not None and limit <= SMALL_ADDRESS_SPACE


def spare_address_space() -> None:
    """Under a small limit on the address space, map less of it; to be called before numpy is imported.

    Each thread of a BLAS maps a stack and buffers, each that allocates an arena of 64 MiB of its own, and Arrow's own
    allocator a GiB at a time.

    Raises:
        NotEnoughMemoryError: there is less than LEAST_ADDRESS_SPACE.
    """
    if not has_small_address_space():
        return
    for name in (*_ONE_THREAD, _ARENAS_VARIABLE):  # for processes that we start, too
        os.environ.setdefault(name, "1")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    import ctypes

    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_ARENAS_PARAMETER, int(os.environ[_ARENAS_VARIABLE]))
    limit = address_space_limit() or 0
    if limit < LEAST_ADDRESS_SPACE:
        raise NotEnoughMemoryError(
            f"not enough memory: an address space of {limit / 2**30:.2g} GiB (ulimit -v) does not hold the libraries",
            hint=f"give it more memory, at least {LEAST_ADDRESS_SPACE / 2**30:.2g} GiB",
        )
    # First of all, as OpenBLAS, of which numpy and scipy bring one each, tries for ever where its buffers find no room.
    import scipy.linalg  # noqa: F401


def available_memory(root: Path = Path("/")) -> int:
    """Bytes this process may still take: the least of what the machine, its control groups and its address space leave.

    Args:
        root: where `proc` and `sys` lie.
    """
    room = [_machine(root), *_control_groups(root)]
    if (limit := address_space_limit()) is not None:
        room.append(limit - _mapped(root))
    return max(0, min(room))


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, is that memory ran out, whichever library says so."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, RuntimeError | ImportError | OSError) and _SIGNS.search(str(error)):
            return True
        if type(error).__name__ == "OutOfMemoryException":  # DuckDB's, which need not be imported here
            return True
        error = error.__cause__
    return False


def can_import(module: str) -> bool:
    """Whether the address space has room for a large library. Trying it here would leave half of it mapped."""
    if address_space_limit() is None or module in sys.modules:
        return True
    import subprocess

    tried = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, check=False)
    return tried.returncode == 0


def _machine(root: Path) -> int:
    with suppress(OSError, StopIteration, ValueError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _mapped(root: Path) -> int:
    with suppress(OSError, ValueError):
        return int((root / "proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _control_groups(root: Path) -> list[int]:
    """What each limited control group of this process leaves, from its own up to the outermost (a container's)."""
    room: list[int] = []
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if not controllers:
                mount, limit, usage = root / "sys/fs/cgroup", "memory.max", "memory.current"
            elif "memory" in controllers.split(","):
                mount, limit, usage = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            else:
                continue
            own = Path(name.lstrip("/"))
            # In a container the name may be the one outside of it; then the mount itself is the group.
            for group in (own, *own.parents):
                with suppress(OSError, ValueError):  # no such group, or "max": no limit
                    allowed = int((mount / group / limit).read_text())
                    if allowed < _UNLIMITED:
                        room.append(allowed - int((mount / group / usage).read_text()) + _cache(mount / group))
    return room


def _cache(group: Path) -> int:
    """Bytes that a control group holds of files, and would give up."""
    with suppress(OSError, ValueError):
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0
