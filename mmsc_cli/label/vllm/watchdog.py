"""Kills its own process group when the process that started this script is gone, even by SIGKILL.

Run as a script that leads a process group; what is to be killed with it joins that group. Standard input is a pipe
whose other end only the starting process holds: its end is the sign.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Wait for the end of standard input, then kill the group, this process among it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which asks the rest of the group to end
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
