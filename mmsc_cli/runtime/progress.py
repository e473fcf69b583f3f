"""How the library reports progress. The default is silence; `cli.progress` shows it with Rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol


class Task(Protocol):
    """One long piece of work under way."""

    def advance(self, steps: int = 1) -> None:
        """Say that `steps` more units are done."""

    def show(self, **figures: float) -> None:
        """Show the latest value of named figures, such as a loss."""


class Progress(Protocol):
    """Where long work says how far it is."""

    def task(
        self, label: str, total: int | None = None, unit: Literal["", "bytes"] = ""
    ) -> AbstractContextManager[Task]:
        """Open a task of `total` units (None: unknown); bytes are shown as such, with their rate."""


class _SilentTask:
    def advance(self, steps: int = 1) -> None:
        """Do nothing."""

    def show(self, **figures: float) -> None:
        """Do nothing."""


class SilentProgress:
    """Progress that nobody watches."""

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: Literal["", "bytes"] = "") -> Iterator[Task]:  # noqa: ARG002
        """Open a task that shows nothing."""
        yield _SilentTask()


SILENT = SilentProgress()
