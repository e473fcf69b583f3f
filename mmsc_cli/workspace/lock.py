"""One process at a time in a workspace, or several that share a stage.

The operating system lets go of the lock when its process ends, however it ends. `.lock` says whose it is; what it
says stays there if the process was killed, and the next one notes that.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from mmsc_cli.errors import WorkspaceError

_LOG = logging.getLogger("mmsc_cli")
_OWNER = re.compile(r"pid (?P<pid>\d+), since (?P<since>\S+)")


@contextmanager
def locked(root: Path, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a workspace.

    Args:
        root: its folder.
        shared: beside others who share it.
        wait: for whoever holds it, instead of giving up.

    Raises:
        WorkspaceError: another process holds it; with its pid, and for how long it has.
        OSError: the folder is not there or may not be written to.
    """
    if not os.access(root, os.W_OK | os.X_OK):
        number = errno.EACCES if root.is_dir() else errno.ENOENT
        raise OSError(number, os.strerror(number), str(root))
    with (root / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise WorkspaceError(
                f"{root} is in use by another mmsc ({_describe(_read(file))})",
                hint="wait for it, or use another folder (-w DIR)",
            ) from None
        left = _read(file)
        if left and not shared:
            _LOG.info("the last mmsc in %s was killed (%s): what it finished is kept", root, _describe(left))
        _write(file, f"pid {os.getpid()}, since {datetime.now(UTC).isoformat(timespec='seconds')}")
        try:
            yield
        finally:
            _clear(file)


def _clear(file: IO[str]) -> None:
    """Say that nobody holds it; of those who share it the last one does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write(file, "")
    except OSError:  # others share it, or the folder is gone, or its disk
        return


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip()


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _describe(owner: str) -> str:
    """`pid 7, for 2 min, since ...`."""
    found = _OWNER.fullmatch(owner)
    if found is None:
        return "which has just begun"
    try:
        since = datetime.fromisoformat(found["since"])
        age = max(datetime.now(UTC) - since, timedelta())
    except (TypeError, ValueError):
        return "which says nothing of itself"
    return f"pid {found['pid']}, for {_told(age)}, since {found['since']}"


def _told(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    for unit, length in (("day", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}{'s' if unit == 'day' else ''}"
    return f"{seconds} s"
