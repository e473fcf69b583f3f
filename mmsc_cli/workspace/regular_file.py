"""Opening files of a workspace, which a stranger may have made: no links, no pipes, no devices."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from mmsc_cli.errors import InputError, WorkspaceError

_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; a pipe, which would wait for a writer, is refused at once.

    Raises:
        WorkspaceError: it is a link, or no regular file.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise is_link(path) from error
        if error.errno == errno.ENXIO:  # a socket
            raise is_irregular(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise is_irregular(path)
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path) -> bytes:
    """Return the content of a file; errors as those of `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def refuse_irregular(path: Path) -> Path:
    """Return a path that is a regular file, or nothing, for libraries that open files themselves; as `open_regular`."""
    with suppress(FileNotFoundError):
        open_regular(path).close()
    return path


def refuse_link(path: Path) -> Path:
    """Return a path of a workspace that is no link, or is not there.

    Raises:
        WorkspaceError: it is a link, by which what is written or deleted would be elsewhere.
    """
    if path.is_symlink():
        raise is_link(path)
    return path


def refuse_model_inside(root: Path, model: Path, option: str) -> None:
    """Refuse a model that lies in a workspace: who made the workspace, not its user, would have chosen it.

    Raises:
        InputError: `model` is in the folder `root`, links followed.
    """
    if model.exists() and model.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f"{option}: {model} is inside the workspace, where no model is looked for",
            hint="name a model of the hub, or move the folder of one that you trust out of the workspace",
        )


def is_link(path: Path) -> WorkspaceError:
    """Return the error of a link in a workspace."""
    return WorkspaceError(f"{path} is a link, which mmsc does not follow", hint=f"replace it: rm {path}")


def is_irregular(path: Path) -> WorkspaceError:
    """Return the error of a pipe, a socket or a device in a workspace."""
    return WorkspaceError(f"{path} is not a regular file", hint="use another workspace (-w DIR)")
