"""Equal inputs, found by hash, so that each is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.files.images import UnusableImageError, resolve_image
from mmsc_cli.runtime.parallel import map_in_threads
from mmsc_cli.runtime.progress import Progress
from mmsc_cli.tables.image_hashes import hash_image
from mmsc_cli.tables.items import TEXT_COLUMNS, full_text, item_batches

# The hash of a row with nothing to encode. Of a million others two fall together with a chance of 3 in 100 million.
NOTHING = 0


@dataclass(frozen=True)
class Distinct:
    """The different inputs of some rows.

    Attributes:
        nothing: rows without input.
        first: of each different input the first row that has it, ascending.
    """

    nothing: NDArray[np.int64]
    first: NDArray[np.int64]
    _members: NDArray[np.int64]
    _starts: NDArray[np.int64]

    @classmethod
    def of(cls, hashes: NDArray[np.uint64]) -> Distinct:
        """Group rows by the hashes of their inputs, shape (rows,)."""
        rows = np.flatnonzero(hashes != NOTHING)
        by_hash = rows[np.argsort(hashes[rows], kind="stable")]
        begins = np.flatnonzero(np.diff(hashes[by_hash], prepend=np.uint64(NOTHING)))
        first = by_hash[begins]
        counts = np.diff(begins, append=len(by_hash))
        # The groups in the order of their first rows, each ascending.
        group = np.empty(len(rows), np.int64)
        group[:] = np.repeat(first, counts)
        order = np.lexsort((by_hash, group))
        starts = np.concatenate([[0], np.cumsum(counts[np.argsort(first)])])
        return cls(np.flatnonzero(hashes == NOTHING), np.sort(first), by_hash[order], starts)

    def __len__(self) -> int:
        return len(self.first)

    def rows_of(self, part: range) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All rows that have one of the inputs in `part`, and for each of them the number of its input in `part`."""
        rows = self._members[self._starts[part.start] : self._starts[part.stop]]
        counts = np.diff(self._starts[part.start : part.stop + 1])
        return rows, np.repeat(np.arange(len(part)), counts)


def text_hashes(items: Path, rows: range, progress: Progress) -> NDArray[np.uint64]:
    """Hashes of the items' texts, shape (rows,)."""

    def hashes() -> Iterator[int]:
        for batch in item_batches(items, TEXT_COLUMNS, rows.start, rows.stop):
            for text in full_text(batch):
                yield _hash(text.encode()) if text.strip() else NOTHING

    return _watched("comparing texts", hashes, rows, progress)


def image_hashes(items: Path, rows: range, workspace_root: Path, progress: Progress) -> NDArray[np.uint64]:
    """Hashes of the items' image files, shape (rows,). One that cannot be read is like no other."""

    def paths() -> Iterator[tuple[int, str | None]]:
        row = rows.start
        for batch in item_batches(items, ["image_path"], rows.start, rows.stop):
            for path in batch["image_path"].to_pylist():
                yield row, path
                row += 1

    def of_file(named: tuple[int, str | None]) -> int:
        row, path = named
        if path is None:
            return NOTHING
        try:
            return hash_image(resolve_image(workspace_root, path))
        except (OSError, UnusableImageError):
            return _hash(f"row {row}".encode())

    return _watched("comparing images", lambda: map_in_threads(of_file, paths(), ahead=512), rows, progress)


def _watched(label: str, hashes: Callable[[], Iterator[int]], rows: range, progress: Progress) -> NDArray[np.uint64]:
    found = np.empty(len(rows), np.uint64)
    with progress.task(label, total=len(rows)) as task:
        for at, value in enumerate(hashes()):
            found[at] = value
            task.advance()
    return found


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little") or 1
