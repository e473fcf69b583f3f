"""The table of captions, `captions.parquet`: what the picture of each item shows, in the order of the item table.

An empty caption stands for an item without one. A caption is text of the item like the others: it precedes the
description.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.tables.items import ITEM_SCHEMA, count_items, item_batches
from mmsc_cli.tables.table import ArtefactTable

CAPTION_SCHEMA = pa.schema(
    [pa.field("item_id", pa.string(), nullable=False), pa.field("caption", pa.string(), nullable=False)]
)
MADE_BY = "mmsc label --captions"
_TABLE = ArtefactTable(CAPTION_SCHEMA, "a table of captions", MADE_BY)
write_captions = _TABLE.write


def read_captions(path: Path, n_items: int) -> list[str]:
    """Read the caption of each item.

    Raises:
        WorkspaceError: the file is missing, is no such table, or is of another catalogue.
    """
    captions: list[str] = _TABLE.read(path, ["caption"])["caption"].to_pylist()
    if len(captions) != n_items:
        raise WorkspaceError(
            f"{path} has {len(captions):,} captions for {n_items:,} items", hint=f"run `{MADE_BY}` again"
        )
    return captions


def with_captions(item_table: pa.Table, captions: list[str]) -> pa.Table:
    """Return the item table with the caption of each of its rows before the description."""
    parts = zip(captions, item_table["description"].to_pylist(), strict=True)
    texts = [" ".join(part for part in both if part) for both in parts]
    place = item_table.schema.get_field_index("description")
    return item_table.set_column(place, ITEM_SCHEMA.field("description"), pa.array(texts, pa.string()))


def write_captioned_items(items: Path, captions: Path, out: Path) -> None:
    """Copy an item table, piece by piece, with captions in its texts; atomically.

    Raises:
        WorkspaceError: one of the tables is damaged.
    """
    n_items = count_items(items)
    told, start = read_captions(captions, n_items), 0
    with atomic_write(out) as file, pq.ParquetWriter(file, ITEM_SCHEMA, compression="zstd") as writer:
        for batch in item_batches(items, ITEM_SCHEMA.names, 0, n_items):
            captioned = with_captions(batch, told[start : start + len(batch)])
            writer.write_table(captioned.select(ITEM_SCHEMA.names).cast(ITEM_SCHEMA))
            start += len(batch)
