"""`mmsc`, which is `python -m mmsc_cli`: an interrupt is answered from the first line on, also during the imports."""

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
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # too late: all is done and said
    except KeyboardInterrupt:
        code = INTERRUPTED
        sys.stderr.write("\n".join(interruption(typed_command(sys.argv[1:]))) + "\n")
    if code == INTERRUPTED:
        # At once: Python would wait for threads that still work, and where an interrupt met an import it would end by
        # the signal instead of the code. What had to be cleaned up has been, on the way here.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
