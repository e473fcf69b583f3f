"""`images/sources.parquet`: the local files that images came from, so that a picture that changes is noticed.

A file is taken to be the same if its size and time of change are. What was not there is listed too, with a size of -1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FILE = "sources.parquet"
_SCHEMA = pa.schema([("path", pa.binary()), ("bytes", pa.int64()), ("mtime_ns", pa.int64())])


def write_sources(target: Path, base: Path, paths: Iterable[Path]) -> None:
    """List files, and folders, whose time of change tells of files that came or went.

    Args:
        target: the new `images/`.
        base: what they are listed relative to, so that all may be moved together.
        paths: what was looked for, there or not.
    """
    names = sorted({os.path.relpath(path, os.fsencode(base)) for path in map(_speakable, paths) if path})
    looks = [_look(os.path.join(os.fsencode(base), name)) for name in names]  # noqa: PTH118  bytes
    columns = [names, [size for size, _ in looks], [mtime for _, mtime in looks]]
    pq.write_table(pa.table(dict(zip(_SCHEMA.names, columns, strict=True)), schema=_SCHEMA), target / FILE)


def changed_sources(images: Path, base: Path) -> str | None:
    """Say how many of the listed files are not as they were, and name one; None where all are, or none is listed."""
    if not (images / FILE).is_file():
        return None
    try:
        table = pq.read_table(images / FILE)
    except (OSError, pa.ArrowException):
        return "the list of local images is damaged"
    listed = zip(*(table[name].to_pylist() for name in _SCHEMA.names), strict=True)
    changed = [name for name, size, mtime in listed if _look(os.path.join(os.fsencode(base), name)) != (size, mtime)]  # noqa: PTH118  bytes
    if not changed:
        return None
    return f"local images that changed, came or went: {len(changed):,}, such as {os.fsdecode(changed[0])}"


def _speakable(path: Path) -> bytes | None:
    """Return a path as the system knows it; None for what no file can be called."""
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:
        return None
    return None if b"\0" in name else name


def _look(path: bytes) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116  bytes
    except (OSError, ValueError):
        return -1, 0
    return (status.st_size, status.st_mtime_ns)
