"""One process at a time in a workspace, or several that share a stage.

The operating system releases the lock when its process ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.weak_disk import tolerate
from mmsc_cli.workspace.regular_file import refuse_link

LOCK = ".lock"
# By which a workspace without a manifest is told from a folder of the user's own.
MARK = b"mmsc workspace\n"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def locked(root: Path, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a workspace.

    Args:
        root: its folder.
        shared: beside others who share it.
        wait: for whoever holds it, instead of failing.

    Raises:
        WorkspaceError: another process holds it, or the lock is a link.
        OSError: the folder is not there or may not be written to.
    """
    if not os.access(root, os.W_OK | os.X_OK):
        number = errno.EACCES if root.is_dir() else errno.ENOENT
        raise OSError(number, os.strerror(number), str(root))
    descriptor = os.open(refuse_link(root / LOCK), _FLAGS, 0o666)
    try:
        with tolerate("flock", root):
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise WorkspaceError(
                    f"another mmsc process is using {root}", hint="wait for it, or use another folder (-w DIR)"
                ) from None
        if os.fstat(descriptor).st_size == 0:
            os.write(descriptor, MARK)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder itself for as long as a small change takes, also while a stage runs; waits for others who do.

    Raises:
        OSError: the folder is not there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with tolerate("flock", folder):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_locked(root: Path) -> bool:
    """Return whether a process works in a workspace alone, as while it replaces artefacts."""
    return is_held(root / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, fcntl.LOCK_SH)


def is_held(path: Path, flags: int, lock: int) -> bool:
    """Return whether another process holds a lock on a file or folder, opened with `flags`, that excludes `lock`."""
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def is_marked(root: Path) -> bool:
    """Return whether a command has worked in a folder as in a workspace before."""
    try:
        return (root / LOCK).read_bytes()[: len(MARK)] == MARK if (root / LOCK).is_file() else False
    except OSError:
        return False
