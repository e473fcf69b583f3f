"""Under a small limit on the address space: a process that says why, where a library ends ours without a word.

Libraries of C and C++ call `abort` or `exit` where an allocation fails in the wrong place. No handler of the same
process can tell the user then.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from mmsc_cli.cli.failures import USAGE, describe
from mmsc_cli.runtime.memory import has_small_address_space

_FORWARDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def run_watched(run: Callable[[], int], command: str) -> int:
    """Run a command, in a process of its own where memory is that short, and return its exit code.

    Args:
        run: the command; returns its exit code, and has written what went wrong.
        command: what the user typed.
    """
    if not (has_small_address_space() and hasattr(signal, "sigwaitinfo")):
        return run()
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _follow_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        code = run()
        os.write(writing, bytes([code]))
        return code
    os.close(writing)
    status = _wait(child)
    if ended := os.read(reading, 1):
        return ended[0]
    if -status in _FORWARDED:
        return 128 - status  # as a shell says it
    how = f"signal {-status}" if status < 0 else f"exit code {status}"
    sys.stderr.write("\n".join(describe(MemoryError(f"a library ended it with {how}"), command)) + "\n")
    return USAGE


def _wait(child: int) -> int:
    """Wait for the process, handing on signals, and return its exit code, negative for a signal."""
    while True:
        received = signal.sigwaitinfo({*_FORWARDED, signal.SIGCHLD})
        if received.si_signo != signal.SIGCHLD:
            # What a terminal sends, it sends to both.
            if received.si_pid:
                os.kill(child, received.si_signo)
            continue
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)


def _follow_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
