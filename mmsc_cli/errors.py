"""The few exceptions the library raises on purpose; `cli.failures` maps them to exit codes.

A command in a message or a hint is written in backticks, as `mmsc train`, without `-w`; `in_workspace` adds it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

_WORKSPACE_COMMAND = re.compile(
    r"`(mmsc (?:prepare|label|encode|train|evaluate|infer|serve|run|show|judge|doctor|clean)\b"
    r"(?![^`]*(?: -w |--help))[^`]*)`"
)


class MmscError(Exception):
    """Something the person at the terminal can fix.

    `message` says what went wrong and where; `hint`, if there is one, says how to fix it, often with a command.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(MmscError):
    """A file, an option or a recipe is not what it must be."""


class WorkspaceError(MmscError):
    """An artefact is missing, stale, damaged, locked, or of a newer format version."""


class NoWorkspaceError(WorkspaceError):
    """The folder is no workspace; `folder` could become one."""

    def __init__(self, message: str, folder: Path) -> None:
        new = in_workspace("`mmsc run SOURCE`", folder)
        super().__init__(message, hint=f"name the folder of a workspace with -w, or make a new one: {new}")
        self.folder = folder


class UnknownItemError(MmscError):
    """An item id that is not in the catalogue; `nearest` are ids like it."""

    def __init__(self, message: str, hint: str | None = None, nearest: Sequence[str] = ()) -> None:
        super().__init__(message, hint)
        self.nearest = list(nearest)


class UnreachableError(MmscError):
    """An outside resource (a download, a model hub, an LLM server) did not answer."""


class NotEnoughMemoryError(MmscError):
    """There is less memory than even the smallest step of the work takes, and `hint` says how it takes less."""


class GateError(MmscError):
    """The command ran, but a limit its caller stated was not met."""


def in_workspace(text: str, root: Path) -> str:
    """Add `-w ROOT` to the commands in a text that work in a workspace, so that they can be typed as they stand.

    Left as they are: commands with a `-w` of their own, `--help`, and all commands where `root` is what a command
    without `-w` uses.
    """
    if root == Path("workspace") and "MMSC_WORKSPACE" not in os.environ:
        return text
    where = shlex.quote(str(root))
    return _WORKSPACE_COMMAND.sub(lambda match: f"`{match[1]} -w {where}`", text)
