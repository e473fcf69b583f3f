"""The item table, `items.parquet`: its columns, how it is written and read.

The row order (by `item_id`) is the item index that pairs, embeddings and the index refer to. Items with the same
`group` are variants of one product; null where an item stands alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.table import ArtefactTable, check_texts, reading

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
        pa.field("group", pa.string()),
        pa.field("split", pa.string(), nullable=False),
    ]
)


# What the text of an item is made of, see `full_text`.
TEXT_COLUMNS = ["title", "brand", "category", "description"]


# Workspaces made before there were groups have no such column.
_TABLE = ArtefactTable(ITEM_SCHEMA, "an item table", "mmsc prepare SOURCE", added_later=frozenset(("group",)))
read_items, write_items = _TABLE.read, _TABLE.write


def count_items(path: Path) -> int:
    """Return the number of items, from the metadata of the file.

    Raises:
        WorkspaceError: the file is missing or is no table.
    """
    return int(_TABLE.open(path).metadata.num_rows)


def item_batches(path: Path, columns: list[str], start: int, stop: int, rows: int = 4_096) -> Iterator[pa.Table]:
    """Yield the item rows from `start` up to `stop`, at most `rows` at a time.

    Raises:
        WorkspaceError: the file is missing or is no table, or a text in it is none.
    """
    first = 0
    with _TABLE.open(path) as file:
        batches = file.iter_batches(rows, columns=columns)
        while True:
            with reading(path.name):
                batch = next(batches, None)
            if batch is None:
                return
            begin = max(start - first, 0)
            kept = batch.slice(begin, max(min(stop - first, len(batch)) - begin, 0))
            first += len(batch)
            if len(kept):
                check_texts(kept, path.name, ITEM_SCHEMA)
                yield pa.Table.from_batches([kept])
            if first >= stop:
                return


def read_item(file: pq.ParquetFile, row: int) -> dict[str, Any]:
    """Return all columns of one item row of an opened item table, reading no more than its row group."""
    first = 0
    for group in range(file.num_row_groups):
        n_rows = file.metadata.row_group(group).num_rows
        if row < first + n_rows:
            with reading("items.parquet"):
                item = file.read_row_group(group).slice(row - first, 1).combine_chunks()
            check_texts(item, "items.parquet", ITEM_SCHEMA)
            record: dict[str, Any] = item.to_pylist()[0]
            return record
        first += n_rows
    raise IndexError(row)


def known_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an item with None for a number that is none: NaN stands for an unknown one."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in record.items()
    }


def take_items(path: Path, columns: list[str], rows: np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[pa.Table]:
    """Yield these item rows, given in ascending order, in batches."""
    if not len(rows):
        return
    start, stop = int(rows[0]), int(rows[-1]) + 1
    for batch in item_batches(path, columns, start, stop):
        first, last = np.searchsorted(rows, [start, start + len(batch)])
        if last > first:
            yield batch.take(rows[first:last] - start)
        start += len(batch)


def item_splits(item_table: pa.Table) -> np.ndarray[Any, np.dtype[np.str_]]:
    """Return the `split` column as a numpy array of strings, shape (n_items,).

    Raises:
        WorkspaceError: one of them is no split.
    """
    splits = np.asarray(item_table["split"].to_pylist(), dtype=np.str_)
    if not np.isin(splits, get_args(ItemSplit)).all():
        raise WorkspaceError(
            f"items.parquet is damaged: a split is none of {', '.join(get_args(ItemSplit))}",
            hint="run `mmsc prepare SOURCE` again",
        )
    return splits


def first_variants(item_table: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the row of the first variant of each item's product, shape (n_items,): its own where it stands alone."""
    first: dict[str, int] = {}
    groups = item_table["group"].to_pylist()
    rows = (row if group is None else first.setdefault(group, row) for row, group in enumerate(groups))
    return np.fromiter(rows, np.int64, len(groups))


def full_text(item_table: pa.Table) -> list[str]:
    """Return one text per item for encoders: title, brand, category path, description, in that order."""
    columns = (item_table[name].to_pylist() for name in TEXT_COLUMNS)
    return [
        ". ".join(part for part in (title, brand, " > ".join(category), description) if part)
        for title, brand, category, description in zip(*columns, strict=True)
    ]
