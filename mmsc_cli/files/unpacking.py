"""Packed files of unknown origin: a small one must not become one that fills memory or disk."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from mmsc_cli.errors import InputError

GZIP_MARK, ZSTD_MARK = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PACKINGS = {GZIP_MARK: "gzip", ZSTD_MARK: "zstd"}
_OTHER_PACKINGS = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7z"}
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
    """The content of a file or pipe, unpacked where it is gzip or Zstandard, whatever its name.

    Raises:
        InputError: it is an archive bomb, or packed in another way or twice.
        OSError, EOFError, zlib.error: it cannot be read, or its stream is damaged or cut short.
    """
    content = path.read_bytes()
    stream: IO[bytes]
    if content.startswith(GZIP_MARK):
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=io.BytesIO(content)))
    elif content.startswith(ZSTD_MARK):
        stream = pa.CompressedInputStream(pa.BufferReader(content), "zstd")
    else:
        check_packing(path, content[:8])
        return content
    size = Unpacked(path, len(content))
    pieces = []
    with stream:
        while piece := stream.read(_READ_BYTES):
            size.add(len(piece))
            pieces.append(piece)
    content = b"".join(pieces)
    check_packing(path, content[:8], inside=True)
    return content


def check_packing(path: Path, start: bytes, *, inside: bool = False) -> None:
    """Refuse packings that are not read.

    Args:
        path: named in the message.
        start: the first bytes of the file, or of what was unpacked.
        inside: they were unpacked, and must be no gzip or Zstandard.

    Raises:
        InputError: they are those of such a packing.
    """
    for mark, name in _OTHER_PACKINGS.items() if not inside else {**_OTHER_PACKINGS, **_PACKINGS}.items():
        if start.startswith(mark):
            raise InputError(
                f"{path}: packed as {name}{' within another packing' if inside else ''}",
                hint="unpack it, or pack it with gzip or zstd alone",
            )
