"""Folders of a workspace that a reader keeps as they are, whatever a stage puts in their place meanwhile.

A stage swaps a new folder for the old one and then deletes the old one, but not while a reader holds it: the reader has
a shared lock (flock) on the folder itself. Where the system has no /proc or the file system no locks, a reader opens
by name and may meet a folder that is being replaced.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mmsc_cli.workspace.lock import is_held

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DESCRIPTORS = Path("/proc/self/fd")


class Pins:
    """Folders that are held until this object goes."""

    def __init__(self, root: Path, artefacts: Iterable[str]) -> None:
        """Hold those of the artefacts that are there."""
        self.root = root
        self._descriptors: dict[str, int] = {}
        for artefact in artefacts if _DESCRIPTORS.is_dir() else ():
            with suppress(OSError):  # not there, or a link, which whoever opens it by name reports
                descriptor = os.open(root / artefact, _OPEN)
                self._descriptors[artefact] = descriptor
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def path(self, artefact: str) -> Path:
        """Return the path of an artefact as it was when it was pinned, or its name if it is not pinned."""
        descriptor = self._descriptors.get(artefact)
        return self.root / artefact if descriptor is None else _DESCRIPTORS / str(descriptor)

    def named(self, text: str) -> str:
        """Return a message about pinned paths with their names in the workspace."""
        for artefact in self._descriptors:
            text = text.replace(str(self.path(artefact)), str(self.root / artefact))
        return text

    def __del__(self) -> None:
        """Let go of the folders."""
        for descriptor in self._descriptors.values():
            with suppress(OSError):
                os.close(descriptor)


def is_read(folder: Path) -> bool:
    """Return whether a reader holds a folder."""
    return is_held(folder, _OPEN, fcntl.LOCK_EX)


def remove_unread(folder: Path) -> None:
    """Remove a folder with what is in it, except folders that a reader holds and what cannot be removed."""
    with suppress(OSError):
        for inner in folder.iterdir():
            if inner.is_symlink() or not inner.is_dir():
                inner.unlink()
            elif not is_read(inner):
                shutil.rmtree(inner, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()
