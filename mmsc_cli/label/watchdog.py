"""Kills a process group when the process that started this script is gone, even by SIGKILL.

Run as a script. Standard input is a pipe whose other end only the starting process holds; the group's id
comes through it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Wait for the end of standard input, then kill the group named there, if one was."""
    group = sys.stdin.buffer.read().strip()
    if group:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(group), signal.SIGKILL)


if __name__ == "__main__":
    main()
