"""Run `mmsc`, also as `python -m mmsc_cli`. Interrupts are handled from the first line on, also during imports."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmsc_cli.cli.interrupt import INTERRUPTED, STDOUT, interruption, take_interrupts, typed_command
from mmsc_cli.runtime.machine.cores import limit_threads


class _Stderr(io.TextIOWrapper):
    """stderr, of which a full disk or a closed pipe does not change the exit code of work that is done."""

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError):
            super().flush()


def _pass_over_current_folder() -> None:
    """Import nothing of the user's current folder, here (`python -m` looks there) or in processes started from here."""
    os.environ["PYTHONSAFEPATH"] = "1"
    here, package = Path.cwd(), Path(__file__).parents[1]
    if not sys.flags.safe_path and sys.path[0] == str(here) and package != here:
        del sys.path[0]


class _Stdout(io.TextIOWrapper):
    """stdout, whose errors say that it is stdout that cannot be written."""

    def write(self, text: str) -> int:
        """Write data."""
        with _named_stdout():
            return super().write(text)

    def flush(self) -> None:
        """Flush data."""
        with _named_stdout():
            super().flush()


@contextmanager
def _named_stdout() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = STDOUT
        raise


def _guard_stderr() -> None:
    if sys.stderr is not None:
        # Written through, so that nothing is left to fail when Python ends.
        raw: Any = io.FileIO(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = _Stderr(raw, sys.stderr.encoding, "backslashreplace", line_buffering=True, write_through=True)


def main() -> None:
    """Run `mmsc`."""
    take_interrupts()
    _guard_stderr()
    with suppress(OSError):  # the folder is gone
        _pass_over_current_folder()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # stdout is data: UTF-8 whatever the locale, so that no answer ends in the middle at a letter the locale lacks.
        terminal = sys.stdout.isatty()
        sys.stdout = _Stdout(sys.stdout.detach(), "utf-8", "surrogateescape", line_buffering=terminal)
    try:
        limit_threads()
        # Arrow's own would reserve a GiB at once, behind which no limit is seen.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
        from mmsc_cli.cli.app import run_command  # noqa: PLC0415  an interrupt during this import is answered too

        code = run_command()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # too late: the command has ended
    except KeyboardInterrupt:
        code = INTERRUPTED
        from mmsc_cli.cli.log_lines import write_failure  # noqa: PLC0415  imports json: not the current folder's

        write_failure(interruption(typed_command(sys.argv[1:])), code, sys.argv[1:])
    if code == INTERRUPTED:
        # Python would wait for running threads, and would end with the signal instead of the code if the interrupt
        # came during an import. Clean-up has already been done.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
