"""The vectors of one modality while they are made: a memory-mapped file, and what became of each row of it.

Both files are mapped for one batch at a time, so that this process holds no more of them than that. Rows are marked as
done every few seconds, once their vectors have reached the disk: killed at any moment, a row that is marked is there.

A .npy file that is written piece by piece."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.runtime.atomic import atomic_write, write_json

if TYPE_CHECKING:
    pass


def write_header(file: IO[bytes], dtype: DTypeLike, shape: tuple[int, ...]) -> None:
    """Write what comes before the rows."""
    header: dict[str, Any] = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def skip_header(file: IO[bytes]) -> None:
    """Go to the rows of a file that begins as `write_header` wrote it."""
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)


# What became of a row. From FAILED on, the reason is number `state - FAILED` of the list of reasons.
PENDING, ENCODED, SILENT, FAILED = 0, 1, 2, 3
MARK_SECONDS = 2.0


class VectorFile:
    """`NAME.npy` (rows, dim) float16 with `NAME.done.npy` (rows,), which says for every row whether and how it is done.

    A row is done if it has a vector (ENCODED), if there is nothing to say of it (SILENT: no text, no image, no known
    word), or if its input could not be used (FAILED, with the reason).
    """

    def __init__(self, folder: Path, name: str, rows: int, dim: int) -> None:
        """Continue with the files in `folder`, or lay them out."""
        self.path = folder / f"{name}.npy"
        self.rows = rows
        self._done = folder / f"{name}.done.npy"
        self._reasons_file = folder / f"{name}.reasons.json"
        # The reasons are laid out first and the states last: where there are states, the rest is there too.
        if not self._done.exists():
            write_json(self._reasons_file, [])
            for path, dtype, shape in ((self.path, np.float16, (rows, dim)), (self._done, np.int32, (rows,))):
                _lay_out(path, dtype, shape)
        self._reasons: list[str] = json.loads(self._reasons_file.read_bytes())
        self._unmarked: list[tuple[NDArray[np.int64], Any]] = []
        self._marked_at = time.monotonic()

    def states(self) -> NDArray[np.int32]:
        """What became of each row, shape (rows,)."""
        states: NDArray[np.int32] = np.load(self._done, allow_pickle=False)
        return states

    def vectors(self) -> NDArray[np.float16]:
        """The vectors, memory-mapped, shape (rows, dim); zero where a row has none."""
        vectors: NDArray[np.float16] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return vectors

    def reason(self, state: int) -> str:
        """Why a row with a state from FAILED on failed."""
        return self._reasons[state - FAILED]

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Mark what was written at the end too, also of work that is broken off."""
        try:
            yield
        finally:
            self._mark()

    def write(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Write vectors, shape (len(rows), dim); a zero vector means that there is nothing to say of the row."""
        if len(rows):
            np.lib.format.open_memmap(self.path, mode="r+")[rows] = vectors
            self._done_with(rows, np.where(vectors.any(axis=1), ENCODED, SILENT))

    def skip(self, rows: NDArray[np.int64]) -> None:
        """Rows of which there is nothing to say."""
        self._done_with(rows, SILENT)

    def fail(self, rows: NDArray[np.int64], reasons: Sequence[str]) -> None:
        """Rows whose input could not be used, each with its reason."""
        if new := [reason for reason in dict.fromkeys(reasons) if reason not in self._reasons]:
            self._reasons += new
            write_json(self._reasons_file, self._reasons)
        number = {reason: FAILED + at for at, reason in enumerate(self._reasons)}
        self._done_with(rows, [number[reason] for reason in reasons])

    def _done_with(self, rows: NDArray[np.int64], states: Any) -> None:
        self._unmarked.append((rows, states))
        if time.monotonic() - self._marked_at >= MARK_SECONDS:
            self._mark()

    def _mark(self) -> None:
        np.lib.format.open_memmap(self.path, mode="r+").flush()
        done = np.lib.format.open_memmap(self._done, mode="r+")
        for rows, states in self._unmarked:
            done[rows] = states
        done.flush()
        self._unmarked.clear()
        self._marked_at = time.monotonic()


def _lay_out(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """A file of zeros, whose room on the disk is taken now: a full disk kills who writes into a mapped file."""
    with atomic_write(path) as file:
        write_header(file, dtype, shape)
        file.flush()
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if hasattr(os, "posix_fallocate") and size:
            try:
                os.posix_fallocate(file.fileno(), file.tell(), size)
            except OSError as error:
                raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
        else:
            file.truncate(file.tell() + size)


def open_vectors(share: Path, rows: int, encoder: Encoder) -> tuple[VectorFile, VectorFile]:
    """The vectors of a share: of its texts and of its images."""
    return VectorFile(share, "text", rows, encoder.text_dim), VectorFile(share, "image", rows, encoder.image_dim)
