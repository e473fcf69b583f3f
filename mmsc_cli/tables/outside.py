"""The outside table, `outside.parquet`: which partners of an item are not in the catalogue.

A row says that shoppers of an item viewed or bought something that the catalogue lacks: from Amazon's lists, from pairs
with one unknown end, or from sessions. Partners are numbers, and every one of them has at least two items. No pair of
catalogue items is in the table, so no held-out pair is.

Rows of held-out (cold) items are in it, as the index that answers from everything uses them. A reader that judges an
item as cold drops the rows of that item with `Outside.of_items`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.tables.table import ArtefactTable

OUTWARD, INWARD = "to_outside", "from_outside"

OUTSIDE_SCHEMA = pa.schema(
    [
        pa.field("item", pa.int32(), nullable=False),
        pa.field("outside", pa.int32(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("direction", pa.string(), nullable=False),
        pa.field("strength", pa.float32(), nullable=False),
    ]
)

_TABLE = ArtefactTable(OUTSIDE_SCHEMA, "an outside table", "mmsc prepare SOURCE")


@dataclass(frozen=True)
class Outside:
    """The outside table in memory; all arrays have shape (rows,), in the order of item, partner, relation, direction.

    Attributes:
        item: item rows.
        outside: numbers of partners, from 0.
        relation: positions in RELATIONS.
        outward: True for "shoppers of the item choose the partner", False for the other direction.
        strength: above 0, on the same scale as the strengths of the pair table.
    """

    item: NDArray[np.int32]
    outside: NDArray[np.int32]
    relation: NDArray[np.int8]
    outward: NDArray[np.bool_]
    strength: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.item)

    @classmethod
    def read(cls, path: Path) -> Outside:
        """Read the outside table.

        Raises:
            WorkspaceError: the file is missing or is no outside table.
        """
        columns = _TABLE.read_arrays(path)
        relation = np.select([columns["relation"] == name for name in RELATIONS], range(len(RELATIONS)), -1)
        outward = columns["direction"] == OUTWARD
        return cls(columns["item"], columns["outside"], relation.astype(np.int8), outward, columns["strength"])

    @property
    def n_outside(self) -> int:
        """Number of partners."""
        return int(self.outside.max()) + 1 if len(self) else 0

    def select(self, mask: NDArray[np.bool_]) -> Outside:
        """The rows where `mask` is true; numbers of partners stay."""
        return Outside(
            self.item[mask], self.outside[mask], self.relation[mask], self.outward[mask], self.strength[mask]
        )

    def of_items(self, mask: NDArray[np.bool_]) -> Outside:
        """The rows of the items where `mask`, shape (n_items,), is true; numbers of partners stay."""
        return self.select(mask[self.item])

    def matrix(self, relation: Relation, n_items: int) -> sparse.csr_array[Any]:
        """Strengths in a relation, the stronger of the two directions; shape (n_items, n_outside), float32."""
        rows = self.select(self.relation == RELATIONS.index(relation))
        shape = n_items, self.n_outside
        outward, inward = (
            sparse.coo_array((half.strength, (half.item, half.outside)), shape=shape).tocsr()
            for half in (rows.select(rows.outward), rows.select(~rows.outward))
        )
        return outward.maximum(inward).tocsr()
