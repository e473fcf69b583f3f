"""Digests of the user's own files, kept in the workspace so that a large file that did not change is not read again.

A file is taken to be the one that was read if its path, size and time of change are the same. The digest of a file that
changed within the last seconds is not kept: it could change again without its time of change telling.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.workspace.checksums import digest
from mmsc_cli.workspace.regular_file import open_regular

FILE = "digests.json"
_SETTLED_NS = 2_000_000_000


def glance(path: Path) -> tuple[int, int]:
    """The size of a file in bytes and its time of change in nanoseconds."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


class KeptDigests:
    """The digests of files, from an earlier run where the files are as they were."""

    def __init__(self, root: Path) -> None:
        """Read what is kept in the workspace with the folder `root`; what is damaged is as if it were not there."""
        self._path = root / FILE
        self._kept = self._read()
        self._used: dict[str, list[Any]] = {}

    def digest(self, path: Path) -> str:
        """Return the sha256 of a regular file."""
        name = os.fsencode(path.absolute()).decode(errors="backslashreplace")
        before = glance(path)
        kept = self._kept.get(name)
        if kept is not None and tuple(kept[:2]) == before:
            self._used[name] = kept
            return str(kept[2])
        found = digest(path)
        _, changed_ns = before
        if glance(path) == before and time.time_ns() - changed_ns > _SETTLED_NS:
            self._used[name] = [*before, found]
        return found

    def save(self) -> None:
        """Keep the digests of the files that were asked about, and no others; a full disk is no error."""
        if self._used != self._kept:
            with suppress(OSError):
                write_json(self._path, self._used)
                self._kept = dict(self._used)

    def _read(self) -> dict[str, list[Any]]:
        try:
            with open_regular(self._path) as file:
                content = json.loads(file.read())
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(content, dict):
            return {}
        return {
            name: entry
            for name, entry in content.items()
            if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], str)
        }
