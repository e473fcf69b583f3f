"""Packed files of unknown origin: a small one must not become one that fills memory or disk."""

from __future__ import annotations

import gzip
from pathlib import Path

from mmsc_cli.errors import InputError

GZIP_MARK = b"\x1f\x8b"
# Text packs to a tenth, repetitive text to a fiftieth; gzip's most is 1,032 to one, which takes a file made for it.
MOST_RATIO = 200
# Below this size nobody is harmed, whatever the ratio.
HARMLESS_BYTES = 1 << 28
_READ_BYTES = 1 << 20


class Unpacked:
    """How much a file has become, against how much of it was read.

    Attributes:
        packed: bytes read so far, or all that there are.
    """

    def __init__(self, path: Path, packed: int = 0) -> None:
        self.packed = packed
        self._path = path
        self._unpacked = 0

    def add(self, size: int) -> None:
        """Count what was unpacked, before it is kept.

        Raises:
            InputError: it is more than a file that was not made for it would become.
        """
        self._unpacked += size
        if self._unpacked > max(HARMLESS_BYTES, MOST_RATIO * self.packed):
            raise InputError(
                f"{self._path}: becomes more than {MOST_RATIO} times as large when unpacked, as archive bombs do",
                hint="if you trust it, unpack it yourself and give the unpacked file",
            )


def read_unpacked(path: Path) -> bytes:
    """The content of a file, unpacked where it is gzip, whatever its name.

    Raises:
        InputError: it is an archive bomb.
        OSError, EOFError, zlib.error: it cannot be read, or its gzip stream is damaged or cut short.
    """
    with path.open("rb") as file:
        if file.read(len(GZIP_MARK)) != GZIP_MARK:
            file.seek(0)
            return file.read()
    size = Unpacked(path, path.stat().st_size)
    pieces = []
    with gzip.open(path) as stream:
        while piece := stream.read(_READ_BYTES):
            size.add(len(piece))
            pieces.append(piece)
    return b"".join(pieces)
