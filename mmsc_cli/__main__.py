"""Run `mmsc`, also as `python -m mmsc_cli`. Interrupts are handled from the first line on, also during imports."""

from __future__ import annotations

import os
import signal
import sys

from mmsc_cli.cli.interrupt import INTERRUPTED, interruption, typed_command
from mmsc_cli.runtime.cores import limit_threads


def main() -> None:
    """Run `mmsc`."""
    try:
        limit_threads()
        from mmsc_cli.cli.app import run_command  # noqa: PLC0415  an interrupt during this import is answered too

        code = run_command()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # too late: the command has ended
    except KeyboardInterrupt:
        code = INTERRUPTED
        sys.stderr.write("\n".join(interruption(typed_command(sys.argv[1:]))) + "\n")
    if code == INTERRUPTED:
        # Python would wait for running threads, and would end with the signal instead of the code if the interrupt
        # came during an import. Clean-up has already been done.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
