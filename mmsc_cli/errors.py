"""The few exceptions the library raises on purpose; `cli.failure` maps them to exit codes."""

from __future__ import annotations


class MmscError(Exception):
    """Something the person at the terminal can mend.

    `message` says what went wrong and where; `hint`, if there is one, is the way out (often a command).
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(MmscError):
    """A file, an option or a recipe is not what it must be."""


class WorkspaceError(MmscError):
    """An artefact is missing, stale, damaged, locked, or of a newer format version."""


class UnknownItemError(MmscError):
    """An item id that is not in the catalogue."""


class UnreachableError(MmscError):
    """An outside resource (a download, a model hub, an LLM server) did not answer."""


class NotEnoughMemoryError(MmscError):
    """There is less memory than even the smallest step of the work takes, and `hint` says how it takes less."""


class GateError(MmscError):
    """The command ran, but a limit its caller stated was not met."""
