"""What a source delivers, part by part: records and relations as tables on disk, and counts.

Nothing here grows with the catalogue in memory. `assemble` makes the two tables of the workspace from it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmsc_cli.tables.items import ITEM_SCHEMA

CATALOGUE_SCHEMA = pa.schema([column for column in ITEM_SCHEMA if column.name != "split"])
# `record` is a number of its own for each record, in their order. Of records with the same id the one of the greatest
# richness is kept; of equals, what they say decides. `views` and `purchases` are the ids of other items in the record's
# own lists of what its shoppers also viewed and bought, the strongest first. `kept` are the values of the columns that
# the recipe keeps, in its order, null for none.
RECORD_SCHEMA = pa.schema(
    [
        pa.field("record", pa.int64(), nullable=False),
        *CATALOGUE_SCHEMA,
        pa.field("richness", pa.int64(), nullable=False),
        pa.field("views", pa.list_(pa.string())),
        pa.field("purchases", pa.list_(pa.string())),
        pa.field("kept", pa.list_(pa.string())),
    ]
)
# What stands apart from the records: shoppers of the item `source` also viewed or bought `target`, in so many sessions
# (null: the source does not say).
RELATION_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("target", pa.string()),
        pa.field("view", pa.float32(), nullable=False),
        pa.field("buy", pa.float32(), nullable=False),
        pa.field("views_together", pa.int32()),
        pa.field("purchases_together", pa.int32()),
    ]
)
Kind = Literal["records", "relations"]
# The strength of a position in a record's own list, counted from 1; in SQL, and below for arrays.
LIST_STRENGTH = "0.5 + 1 / log2(1 + position)"


def list_strength(position: NDArray[np.int64]) -> NDArray[np.float64]:
    """The strength of positions in a list, counted from 1; LIST_STRENGTH for arrays."""
    strength: NDArray[np.float64] = 0.5 + 1 / np.log2(1 + position)
    return strength


class Record(NamedTuple):
    """A row of RECORD_SCHEMA, whose columns it names in the same order."""

    record: int
    item_id: str
    title: str = ""
    description: str = ""
    brand: str = ""
    category: Sequence[str] = ()
    price: float = math.nan
    image_url: str | None = None
    image_path: str | None = None
    group: str | None = None
    richness: int = 0
    views: Sequence[str] = ()
    purchases: Sequence[str] = ()
    kept: Sequence[str | None] = ()

    def fields_filled(self) -> int:
        """How many fields say something."""
        return sum(value is not None and value == value and value not in ("", [], ()) for value in self[1:10])


def relation_table(columns: Mapping[str, Any]) -> pa.Table:
    """Relations as a table of RELATION_SCHEMA; numbers of sessions that are not given are null."""
    rows = len(columns["source"])
    return (
        pa.table({"views_together": pa.nulls(rows), "purchases_together": pa.nulls(rows)} | dict(columns))
        .select(RELATION_SCHEMA.names)
        .cast(RELATION_SCHEMA)
    )


def record_table(records: Sequence[Record]) -> pa.Table:
    """Records as a table of RECORD_SCHEMA."""
    columns = zip(*records, strict=True) if records else ([] for _ in RECORD_SCHEMA)
    arrays = [_array(column, field.type) for column, field in zip(columns, RECORD_SCHEMA, strict=True)]
    return pa.table(arrays, schema=RECORD_SCHEMA)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # lone surrogates in lists, which are no part of an id we keep
        return pa.array([[text.encode("utf-8", "replace").decode() for text in texts] for texts in values], kind)


class Delivery:
    """A source's records and relations: parts of tables in a folder, which whole processes may add to at once.

    Attributes:
        counts: what was read, what was mended, and what was dropped and why.
        notes: what else the manifest should say.
        warnings: what a person should look at before training.
        forgotten: what also may be worth a look, less grave.
        truth: TRUTH_SCHEMA for synthetic data, whose ids are unique: `a < b` are numbers of records, `direction` is
            `a_to_b`, `b_to_a` or `both` for a complement, else null.
    """

    def __init__(self, folder: Path) -> None:
        """Take an existing, empty folder."""
        self.folder = self._speakable(folder)
        self.counts: Counter[str] = Counter()
        self.notes: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.forgotten: list[str] = []
        self.truth: pa.Table | None = None
        self._added = 0

    def _speakable(self, folder: Path) -> Path:
        """The folder, or a link to it where its name is no text, which DuckDB and pyarrow cannot say."""
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            self._links = TemporaryDirectory()  # as long as the delivery
            link = Path(self._links.name) / "delivery"
            link.symlink_to(folder.absolute(), target_is_directory=True)
            return link
        return folder

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
