"""`mmsc`, which is `python -m mmsc_cli`: an interrupt is answered from the first line on, also during the imports."""

from __future__ import annotations

import signal
import sys

from mmsc_cli.cli.interrupt import INTERRUPTED, interruption, typed_command


def main() -> None:
    """Run `mmsc`."""
    try:
        from mmsc_cli.cli.app import run_command

        code = run_command()
    except KeyboardInterrupt:
        code = INTERRUPTED
        sys.stderr.write("\n".join(interruption(typed_command(sys.argv[1:]))) + "\n")
    # All is done and said; a second interrupt ends what may still be waiting for its threads.
    signal.signal(signal.SIGINT, signal.SIG_DFL if code == INTERRUPTED else signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    main()
