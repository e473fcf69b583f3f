"""What a source delivers, part by part: records and relations as tables on disk, and counts.

Nothing here grows with the catalogue in memory. `assemble` makes the two tables of the workspace from it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.tables.items import ITEM_SCHEMA

CATALOGUE_SCHEMA = pa.schema([column for column in ITEM_SCHEMA if column.name != "split"])
# `record` is a number of its own for each record, in their order. Of records with the same id the one of the greatest
# richness is kept; of equals, what they say decides. `views` and `purchases` are the ids of other items in the record's
# own lists of what its shoppers also viewed and bought, the strongest first.
RECORD_SCHEMA = pa.schema(
    [
        pa.field("record", pa.int64(), nullable=False),
        *CATALOGUE_SCHEMA,
        pa.field("richness", pa.int64(), nullable=False),
        pa.field("views", pa.list_(pa.string())),
        pa.field("purchases", pa.list_(pa.string())),
    ]
)
# What stands apart from the records: shoppers of the item `source` also viewed or bought `target`.
RELATION_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("target", pa.string()),
        pa.field("view", pa.float32(), nullable=False),
        pa.field("buy", pa.float32(), nullable=False),
    ]
)
Kind = Literal["records", "relations"]


class Delivery:
    """A source's records and relations: parts of tables in a folder, which whole processes may add to at once.

    Attributes:
        counts: what was read, what was mended, and what was dropped and why.
        notes: what else the manifest should say.
        truth: TRUTH_SCHEMA for synthetic data, whose ids are unique: `a < b` are numbers of records, `direction` is
            `a_to_b`, `b_to_a` or `both` for a complement, else null.
    """

    def __init__(self, folder: Path) -> None:
        """Take an existing, empty folder."""
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.notes: dict[str, Any] = {}
        self.truth: pa.Table | None = None
        self._added = 0

    def parts(self, kind: Kind) -> list[str]:
        """The files of a kind, in the order of their names."""
        return sorted(map(str, self.folder.glob(f"{kind}-*.parquet")))

    def add(self, kind: Kind, table: pa.Table) -> None:
        """Add a part, of RECORD_SCHEMA or RELATION_SCHEMA."""
        self._added += 1
        write_part(self.folder, kind, self._added, table)


def part_path(folder: Path, kind: Kind, number: int) -> Path:
    """Where a part of a delivery lies; each part of a kind needs a number of its own."""
    return folder / f"{kind}-{number:016}.parquet"


def write_part(folder: Path, kind: Kind, number: int, table: pa.Table) -> None:
    """Write a part of a delivery, which is read once: in haste."""
    path = part_path(folder, kind, number)
    pq.write_table(table, path, compression="lz4", use_dictionary=False, write_statistics=False)


def filled(value: Any) -> bool:
    """Whether a field of a record says something: text, a price, a path; the measure of its richness."""
    return bool(value) and value == value
