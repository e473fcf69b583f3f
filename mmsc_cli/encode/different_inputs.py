"""The different inputs of a catalogue: equal texts, and image files of equal content, are encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.progress import Progress
from mmsc_cli.tables.embeddings import map_array
from mmsc_cli.tables.image_hashes import NO_IMAGE
from mmsc_cli.tables.items import TEXT_COLUMNS, count_items, full_text, item_batches

# The hash of a row without input. Two of a million different inputs share a hash with a chance of 3 in 100 million.
NO_INPUT = 0


@dataclass(frozen=True)
class DifferentInputs:
    """The different inputs of one modality, numbered in the order in which rows first have them.

    Attributes:
        first_row: (inputs,) the first row that has each input; ascending.
        of_row: (rows,) the input of each row; -1 for a row without.
    """

    first_row: NDArray[np.int64]
    of_row: NDArray[np.int64]

    @classmethod
    def of(cls, hashes: NDArray[np.uint64]) -> DifferentInputs:
        """Number the inputs of rows by their hashes, (rows,)."""
        rows = np.flatnonzero(hashes != NO_INPUT)
        _, first, group = np.unique(hashes[rows], return_index=True, return_inverse=True)
        order = np.argsort(first)  # np.unique sorts the groups by hash; we want them by first row
        number = np.empty(len(order), np.int64)
        number[order] = np.arange(len(order))
        of_row = np.full(len(hashes), -1, np.int64)
        of_row[rows] = number[group]
        return cls(rows[first[order]], of_row)

    def __len__(self) -> int:
        return len(self.first_row)

    @property
    def repeated(self) -> int:
        """How many rows have the input of an earlier row."""
        return int((self.of_row >= 0).sum()) - len(self)

    def rows(self, numbers: range) -> NDArray[np.int64]:
        """Return the rows with an input, from the first row of these inputs up to that of the next ones; ascending.

        Each row is among the rows of exactly one range, if the ranges cover all inputs.
        """
        start = self.first_row[numbers.start]
        stop = self.first_row[numbers.stop] if numbers.stop < len(self) else len(self.of_row)
        rows: NDArray[np.int64] = start + np.flatnonzero(self.of_row[start:stop] >= 0)
        return rows


def text_hashes(items_path: Path, kept: Path, progress: Progress) -> NDArray[np.uint64]:
    """Return the hashes of all texts, (items,); they are computed once and kept in the file `kept`."""
    if not kept.exists():
        hashes = np.zeros(count_items(items_path), np.uint64)
        row = 0
        with progress.task("comparing texts", total=len(hashes)) as task:
            for table in item_batches(items_path, TEXT_COLUMNS, 0, len(hashes)):
                for text in full_text(table):
                    if text.strip():
                        hashes[row] = _hash(text)
                    row += 1
                task.advance(len(table))
        with atomic_write(kept) as file:
            np.save(file, hashes, allow_pickle=False)
    return map_array(kept, "mmsc encode")


def image_hashes(items_path: Path, recorded: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of all images, (items,), as `prepare` recorded them.

    An image that is named but was not found is an input of its own; encoding it says why it cannot be used.
    """
    hashes = recorded.copy()
    row = 0
    for table in item_batches(items_path, ["image_path"], 0, len(hashes)):
        rows = np.arange(row, row + len(table))
        missing = rows[table["image_path"].is_valid().to_numpy() & (hashes[rows] == NO_IMAGE)]
        hashes[missing] = missing + 1
        row += len(table)
    return hashes


def joint_hashes(text: NDArray[np.uint64], image: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of text and image as one input, (items,), from those of each; none where one is missing."""
    both = (text != NO_INPUT) & (image != NO_INPUT)
    # Odd, so that no two texts become one; the golden ratio in 64 bits (Knuth's multiplicative hashing).
    mixed = text * np.uint64(0x9E3779B97F4A7C15) + image
    return np.where(both, np.maximum(mixed, np.uint64(1)), np.uint64(NO_INPUT))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") or 1
