"""Progress on a terminal, with Rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from mmsc_cli.runtime.progress import Task
from mmsc_cli.runtime.redaction import redact
from mmsc_cli.runtime.visible import shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichBar
    from rich.progress import TaskID


class _RichTask:
    def __init__(self, bar: RichBar, number: TaskID) -> None:
        self._bar = bar
        self._number = number

    def advance(self, steps: int = 1) -> None:
        self._bar.advance(self._number, steps)

    def show(self, **figures: float) -> None:
        text = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self._bar.update(self._number, figures=text)


class RichProgress:
    """Shows each task as a bar with rate, time left and its latest figures."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: Literal["", "bytes"] = "") -> Iterator[Task]:
        """Show one task while it is open."""
        from rich.progress import (  # noqa: PLC0415  Rich is slow to import
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *((DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            yield _RichTask(bar, bar.add_task(shown(redact(label)), total=total, figures=""))
