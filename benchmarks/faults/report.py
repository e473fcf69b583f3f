"""How a campaign reports: a Markdown table, and the machine it ran on."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, with its line ends."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def finish(head: Sequence[str], rows: list[list[str]], faults: Sequence[str]) -> None:
    """Write a campaign's table, with a last row of the sum of its third column, to stdout; exit with 1 on faults."""
    total = sum(int(row[2]) for row in rows)
    rows.append(["all", "", str(total), f"{total - len(faults)} of {total}"])
    sys.stdout.write(f"{machine()}\n\n{markdown_table(head, rows)}")
    if faults:
        sys.exit("\n".join(faults))


def machine() -> str:
    """Return what the campaign ran on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, no GPU used"
