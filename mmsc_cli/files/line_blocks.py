"""A file of lines, plain or gzip, in blocks of whole lines: what one worker parses at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mmsc_cli.errors import InputError
from mmsc_cli.files.unpacking import Unpacked

BLOCK_BYTES = 2 << 20
_CHUNK_BYTES = 1 << 18
_UNPACKED_BYTES = 1 << 22  # what is unpacked at a time, however well it was packed
_LONGEST_LINE = 1 << 24
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31  # zlib's name for "a gzip stream, with its header and check sum"


@dataclass(frozen=True)
class LineBlock:
    """Whole lines; `first` is the number of the first of them, from 1. Only the last block may lack a line end."""

    first: int
    content: bytes


class _BrokenStreamError(Exception):
    """The gzip stream is damaged (its text says how) or, if `ends`, cut short."""

    def __init__(self, reason: str, *, ends: bool) -> None:
        super().__init__(reason)
        self.ends = ends


class LineBlocks:
    """The blocks of a file, to be iterated over once.

    Attributes:
        truncated_after: after the last block, the number of the last whole line of a gzip stream that is cut short (a
            plain file does not show it: whoever reads its last line finds out); None for a whole file.
    """

    def __init__(self, path: Path, *, allow_truncated: bool = False, block_bytes: int = BLOCK_BYTES) -> None:
        self.path = path
        self.truncated_after: int | None = None
        self.allow_truncated = allow_truncated
        self._block_bytes = block_bytes

    def __iter__(self) -> Iterator[LineBlock]:
        """Yield the blocks; memory follows a block, not the file.

        Raises:
            InputError: there is no such file, or its gzip stream is damaged or (unless allowed) cut short; the last
                whole line is named.
        """
        if not self.path.exists() or self.path.is_dir():
            raise InputError(f"no file at {self.path}", hint="give an Amazon metadata file with --input")
        number, rest = 1, b""
        try:
            for chunk in _content(self.path):
                rest += chunk
                if len(rest) >= self._block_bytes:
                    end = rest.rfind(b"\n") + 1
                    if end:
                        yield LineBlock(number, rest[:end])
                        number += rest.count(b"\n", 0, end)
                        rest = rest[end:]
                if len(rest) > _LONGEST_LINE:
                    raise InputError(
                        f"{self.path}: record {number} is longer than {_LONGEST_LINE >> 20} MiB",
                        hint="the file must be Amazon product metadata, one product a line, plain or gzip",
                    )
        except _BrokenStreamError as broken:
            end = rest.rfind(b"\n") + 1
            last = number - 1 + rest.count(b"\n", 0, end)
            if not (broken.ends and self.allow_truncated):
                keep = ", or keep what is whole with --allow-truncated" if broken.ends else ""
                raise InputError(
                    f"{self.path}: the gzip stream breaks after record {last}: {broken}",
                    hint=f"download the file again{keep}",
                ) from broken
            self.truncated_after = last
            rest = rest[:end]
        if rest:
            yield LineBlock(number, rest)


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        # A pipe is read once: nothing is looked at twice.
        first = file.read(_CHUNK_BYTES)
        chunks = chain([first], iter(lambda: file.read(_CHUNK_BYTES), b""))
        yield from _unpack(chunks, path) if first.startswith(_GZIP) else chunks


def _unpack(chunks: Iterator[bytes], path: Path) -> Iterator[bytes]:
    """Unpack gzip members one after the other, handing out all that a broken stream still holds."""
    stream = zlib.decompressobj(_GZIP_WINDOW)
    inside = False
    size = Unpacked(path)
    for chunk in chunks:
        size.packed += len(chunk)
        while chunk:
            inside = True
            before = stream.copy()
            try:
                content = stream.decompress(chunk, _UNPACKED_BYTES)
            except zlib.error as error:
                yield _before_the_damage(before, chunk)
                raise _BrokenStreamError(str(error), ends=False) from error
            size.add(len(content))
            yield content
            chunk = stream.unconsumed_tail
            if stream.eof:
                # Some writers pad the end with zeros, which gzip itself passes over too.
                chunk = stream.unused_data.lstrip(b"\0")
                stream = zlib.decompressobj(_GZIP_WINDOW)
                inside = False
    if inside:
        yield stream.flush()
        if not stream.eof:
            raise _BrokenStreamError("the file ends before the stream does", ends=True)


def _before_the_damage(stream: zlib._Decompress, chunk: bytes) -> bytes:
    content = bytearray()  # grows in place: there may be a quarter of a million pieces
    with suppress(zlib.error):
        for byte in chunk:
            content += stream.decompress(bytes([byte]))
    return bytes(content)
