"""Network and FUSE file systems lack locks, syncing of folders or permissions: less protection, said once, no stop."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOG = logging.getLogger(__name__)
_LACKING = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.ENOLCK}
_MEANINGS = {
    "flock": "has no locks: do not run two commands in one workspace at the same time",
    "fsync": "does not sync folders: a power cut may lose what was just written",
    "chmod": "does not set permissions: files keep those they were created with",
}
_said: set[str] = set()


@contextmanager
def tolerate(call: str, path: Path) -> Iterator[None]:
    """Pass over an error that says that the file system of `path` lacks a call (a key of _MEANINGS)."""
    try:
        yield
    except OSError as error:
        if error.errno not in _LACKING:
            raise
        if call not in _said:
            _said.add(call)
            _LOG.warning("the file system of %s %s", path, _MEANINGS[call])
