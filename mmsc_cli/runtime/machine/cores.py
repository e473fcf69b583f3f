"""How many processor cores this process may use, and holding libraries to that number."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from mmsc_cli.runtime.machine.control_groups import control_groups

# Read when OpenBLAS, MKL, torch, faiss and Arrow are imported.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use: those it may run on, or its container's CPU quota, if smaller.

    Args:
        root: the folder that has `proc` and `sys`.
    """
    # A quota of 1.5 cores is used up by two threads, never by one.
    return max(1, min([_affinity(), *(math.ceil(quota) for quota in _quotas(root))]))


def limit_threads() -> None:
    """Hold libraries that are not imported yet, and child processes, to the usable cores.

    BLAS, torch and Arrow start as many threads as the machine has cores, also in a container with a quota of few: there
    they only wait for one another. Variables that the user set are kept.
    """
    # A thread that waits for the others would keep its core busy: small steps then take several times the time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cores = usable_cores()
    if cores < _affinity():
        for name, number in thread_limits(cores).items():
            os.environ.setdefault(name, number)


def thread_limits(number: int) -> dict[str, str]:
    """Return the variables that hold libraries of a process to a number of threads; it has to start with them."""
    return dict.fromkeys(_THREAD_VARIABLES, str(number))


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> list[float]:
    """Cores that each limited control group of this process may keep busy."""
    quotas = []
    for version, group in control_groups("cpu", root):
        with suppress(OSError, ValueError, ZeroDivisionError):  # no limit ("max") or none in this group
            if version == 2:
                quota, period = (group / "cpu.max").read_text().split()
            else:
                quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:  # the first version writes -1 where there is no limit
                quotas.append(int(quota) / int(period))
    return quotas
