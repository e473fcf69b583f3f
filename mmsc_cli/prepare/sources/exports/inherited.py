"""Rows that take missing cells from other rows of their table, in bounded memory.

In memory are numbers of rows. The cells that other rows take are on the disk, each once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.files.item_fields import is_missing

Cells = dict[str, list[Any]]
INHERITED = ("title", "description", "brand", "category", "image_url")
# What the names of columns begin with that are kept for filters.
KEPT = "kept:"
_IN_MEMORY = 8 << 20  # smaller tables need no temporary folder


class Export(Protocol):
    """The rows of an export that are records, and what they inherit.

    Attributes:
        names: our columns that it has.
    """

    names: Sequence[str]

    def blocks(self, names: Sequence[str]) -> Iterator[Cells]:
        """Yield these of our columns, block by block of the file, without the rows that are no records."""
        ...


def is_inherited(name: str) -> bool:
    """Whether a row without a value in this column has that of another row of its product."""
    return name in INHERITED or name.startswith(KEPT)


class Inheritance:
    """Cells of other rows, by column and by the row that takes them."""

    def __init__(self, sources: Mapping[str, NDArray[np.int32]], blocks: Iterable[Cells]) -> None:
        """Keep what is taken.

        Args:
            sources: per column the row (n_rows,) that each row takes a missing cell from, -1 for none.
            blocks: these columns of the table.
        """
        self._sources = sources
        self._taken = {name: np.unique(rows[rows >= 0]) for name, rows in sources.items()}
        self._places = {name: np.zeros((len(rows), 2), np.int64) for name, rows in self._taken.items()}
        self._file: IO[bytes] = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  as long as the table
        start = end = 0
        for block in blocks:
            n_rows = len(next(iter(block.values()), ()))
            for name, cells in block.items():
                first, last = np.searchsorted(self._taken[name], [start, start + n_rows])
                for position in range(first, last):
                    cell = cells[self._taken[name][position] - start]
                    written = b"" if is_missing(cell) else _as_json(cell)
                    self._file.write(written)
                    self._places[name][position] = end, len(written)
                    end += len(written)
            start += n_rows

    def fill(self, name: str, first: int, cells: Sequence[Any]) -> list[Any]:
        """Return cells of a column, from row `first` on, with those that are missing taken from other rows."""
        if name not in self._sources:
            return list(cells)
        sources = self._sources[name][first : first + len(cells)]
        positions = np.searchsorted(self._taken[name], sources)
        filled = list(cells)
        last, known = -1, None
        for row in np.flatnonzero(sources >= 0).tolist():
            if not is_missing(cells[row]):
                continue
            if positions[row] != last:  # variants of a product follow each other
                last = int(positions[row])
                known = self._cell(*self._places[name][last].tolist())
            filled[row] = cells[row] if known is None else known
        return filled

    def _cell(self, place: int, length: int) -> Any:
        self._file.seek(place)
        return json.loads(self._file.read(length)) if length else None


def _as_json(cell: Any) -> bytes:
    try:
        return json.dumps(cell, default=str).encode()
    except (ValueError, RecursionError):  # nested too deep for a cell
        return b"null"


def as_bytes(cells: Iterable[Any]) -> pa.Array:
    """Cells as texts that can be looked up, null where they are missing."""
    return pa.array(
        [None if is_missing(cell) else str(cell).encode("utf-8", "surrogatepass") for cell in cells],
        pa.large_binary(),
    )


def first_rows(groups: NDArray[np.int32], rows: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The first of some rows of each group, -1 where there is none.

    Args:
        groups: (n_rows,) numbers from 0; -1: of no group.
        rows: (n_rows,) which of them count.

    Returns:
        Numbers of rows, (n_groups,).
    """
    first = np.full(int(groups.max(initial=-1)) + 1, -1, np.int32)
    backwards = np.flatnonzero(rows & (groups >= 0))[::-1]
    first[groups[backwards]] = backwards  # of several, the last that is written stays
    return first
