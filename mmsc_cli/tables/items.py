"""The item table, `items.parquet`: its columns, how it is written and read.

The row order (by `item_id`) is the item index that pairs, embeddings and the index refer to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.tables.table import read_artefact_table, unreadable_table

ItemSplit = Literal["warm", "cold_valid", "cold_test"]

ITEM_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("brand", pa.string(), nullable=False),
        pa.field("category", pa.list_(pa.string()), nullable=False),
        pa.field("price", pa.float64(), nullable=False),
        pa.field("image_url", pa.string()),
        pa.field("image_path", pa.string()),
        pa.field("split", pa.string(), nullable=False),
    ]
)


# What the text of an item is made of, see `full_text`.
TEXT_COLUMNS = ["title", "brand", "category", "description"]


def write_items(path: Path, table: pa.Table) -> None:
    """Write the item table, atomically. `table` must have the columns of ITEM_SCHEMA."""
    with atomic_write(path) as file:
        pq.write_table(table.select(ITEM_SCHEMA.names).cast(ITEM_SCHEMA), file, compression="zstd")


def read_items(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read the item table (or some of its columns).

    Raises:
        WorkspaceError: the file is missing or is no item table.
    """
    return read_artefact_table(path, ITEM_SCHEMA, what="an item table", made_by="mmsc prepare SOURCE", columns=columns)


def count_items(path: Path) -> int:
    """How many items a table that `read_items` would take has.

    Raises:
        WorkspaceError: the file is missing or is no table.
    """
    return int(_open(path).metadata.num_rows)


def item_batches(path: Path, columns: list[str], start: int, stop: int, rows: int = 4_096) -> Iterator[pa.Table]:
    """The rows from `start` up to `stop`, some at a time, without ever holding them all.

    Raises:
        WorkspaceError: the file is missing or is no table.
    """
    first = 0
    with _open(path) as file:
        for batch in file.iter_batches(rows, columns=columns):
            part = batch.slice(max(start - first, 0), max(min(stop - first, len(batch)) - max(start - first, 0), 0))
            first += len(batch)
            if len(part):
                yield pa.Table.from_batches([part])
            if first >= stop:
                return


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        raise unreadable_table(path, "an item table", "mmsc prepare SOURCE", error) from error


def take_items(path: Path, columns: list[str], rows: np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[pa.Table]:
    """These rows, given ascending, some at a time."""
    if not len(rows):
        return
    start, stop = int(rows[0]), int(rows[-1]) + 1
    for batch in item_batches(path, columns, start, stop):
        first, last = np.searchsorted(rows, [start, start + len(batch)])
        if last > first:
            yield batch.take(rows[first:last] - start)
        start += len(batch)


def item_splits(items: pa.Table) -> np.ndarray[Any, np.dtype[np.str_]]:
    """Return the `split` column as a numpy array of strings, shape (items,)."""
    return np.asarray(items["split"].to_pylist(), dtype=np.str_)


def full_text(items: pa.Table) -> list[str]:
    """Return one text per item for encoders: title, brand, category path, description, in that order."""
    columns = (items[name].to_pylist() for name in TEXT_COLUMNS)
    return [
        ". ".join(part for part in (title, brand, " > ".join(category), description) if part)
        for title, brand, category, description in zip(*columns, strict=True)
    ]
