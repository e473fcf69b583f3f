"""Packed files of unknown origin: a small one must not become one that fills memory or disk."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import InputError

GZIP_MARK, ZSTD_MARK = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PACKINGS = {GZIP_MARK: "gzip", ZSTD_MARK: "zstd"}
_OTHER_PACKINGS = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7z"}
# Text packs to a tenth, repetitive text to a fiftieth; gzip's most is 1,032 to one, which takes a file made for it.
MOST_RATIO = 200
# Below this size nobody is harmed, whatever the ratio.
HARMLESS_BYTES = 1 << 28
_READ_BYTES = 1 << 20
# What is smaller needs no temporary folder.
_IN_MEMORY = 64 << 20


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


def check_parquet(path: Path, metadata: pq.FileMetaData, size: int) -> int:
    """Return how many bytes the columns of a Parquet file of `size` bytes become, as its footer says.

    Raises:
        InputError: it becomes more than a file that was not made for it would.
        ValueError: its parts have other numbers of rows than the whole.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    if sum(group.num_rows for group in groups) != metadata.num_rows:
        raise ValueError("its parts have other numbers of rows than the whole")
    becomes: int = sum(group.total_byte_size for group in groups)
    # Run lengths make billions of equal rows from a few bytes.
    Unpacked(path, size).add(max(becomes, 8 * metadata.num_rows))
    return becomes


def open_parquet(path: Path, content: Any = None, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file by its path, or by its open `content`; `options` are those of pyarrow.

    Raises:
        InputError, ValueError: as `check_parquet`.
        OSError, pa.ArrowException: it cannot be read, or is no Parquet file.
    """
    file = pq.ParquetFile(path if content is None else content, **options)
    check_parquet(path, file.metadata, path.stat().st_size if content is None else content.seek(0, os.SEEK_END))
    return file


def open_unpacked(path: Path) -> IO[bytes]:
    """Open the content of a file or pipe, unpacked where it is gzip or Zstandard, whatever its name.

    What is unpacked, and a pipe, is kept in memory while it is small, else in the temporary folder.

    Raises:
        InputError: it is an archive bomb, or packed in another way or twice.
        OSError, EOFError, zlib.error: it cannot be read, or its stream is damaged or cut short.
    """
    file: IO[bytes] = path.open("rb")
    if not path.is_file():
        with file:
            file = _kept(_pieces(file))
    start = file.read(8)
    file.seek(0)
    stream: IO[bytes]
    if start.startswith(GZIP_MARK):
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=file))
    elif start.startswith(ZSTD_MARK):
        stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
    else:
        check_packing(path, start)
        return file
    size = Unpacked(path, file.seek(0, os.SEEK_END))
    file.seek(0)
    with file, stream:
        content = _kept(_pieces(stream), size)
    check_packing(path, content.read(8), inside=True)
    content.seek(0)
    return content


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: stream.read(_READ_BYTES), b"")


def _kept(pieces: Iterator[bytes], size: Unpacked | None = None) -> IO[bytes]:
    kept: IO[bytes] = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  the caller closes it
    for piece in pieces:
        if size is not None:
            size.add(len(piece))
        kept.write(piece)
    kept.seek(0)
    return kept


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
                hint="unpack it, or pack it with gzip or zstd alone; save a workbook as CSV",
            )
