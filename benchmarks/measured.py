"""What the benchmarks share: running a command with its seconds and peak memory, and Markdown tables."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """stdout, wall seconds, peak GiB and processor seconds of one command, by the operating system's own account."""

    output: str
    seconds: float
    peak_gib: float
    cpu_seconds: float


def run_mmsc(*arguments: object, into: str | None = None, log: Path | None = None) -> Measured:
    """Run one `mmsc` command as a user would; the benchmark ends where it fails.

    Args:
        arguments: what comes after `mmsc`.
        into: a file for stdout, which is not kept then.
        log: a file for stderr; None: it is shown.
    """
    return run_command([sys.executable, "-m", "mmsc_cli", *(str(argument) for argument in arguments)], into, log)


def run_command(words: Sequence[str], into: str | None = None, log: Path | None = None) -> Measured:
    """Run a command; the benchmark ends where it fails. `into` and `log`: as in `run_mmsc`."""
    started = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") if into is None else Path(into).open("w+") as stdout,
        nullcontext() if log is None else log.open("w") as stderr,
    ):
        process = subprocess.Popen(words, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(words)} failed with exit code {process.returncode}")
        unit = 2**30 if sys.platform == "darwin" else 2**20
        if into is None:
            stdout.seek(0)
        output = stdout.read() if into is None else ""
        seconds, cpu_seconds = time.monotonic() - started, usage.ru_utime + usage.ru_stime
        return Measured(output, seconds, usage.ru_maxrss / unit, cpu_seconds)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, with its line ends."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def machine() -> str:
    """What the seconds were taken on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, no GPU used"


def whole_numbers(text: str) -> list[int]:
    """`1,2,3` as numbers, for options."""
    return [int(part) for part in text.split(",")]
