"""The table of proposals, `proposals.parquet`: which product types go with a type, and which replace it.

A row is directed: who has an item of `category` may need one of `other` (complement), or takes one of `other` instead
(substitute). A product type is a whole category path.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_keys, pair_keys
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.tables.table import ArtefactTable

PROPOSAL_SCHEMA = pa.schema(
    [
        pa.field("category", pa.list_(pa.string()), nullable=False),
        pa.field("other", pa.list_(pa.string()), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
    ]
)
_TABLE = ArtefactTable(PROPOSAL_SCHEMA, "a table of proposals", "mmsc label --propose")
read_proposals, write_proposals = _TABLE.read, _TABLE.write


class ProposedTypes:
    """How strongly the product types of two items were proposed to be related."""

    def __init__(self, proposals: pa.Table, item_table: pa.Table) -> None:
        """Match proposals with the categories of the items; those of types without an item are left out."""
        paths = [tuple(path) for path in item_table["category"].to_pylist()]
        number = {path: place for place, path in enumerate(dict.fromkeys(paths))}
        self._types = len(number)
        self._type = np.array([number[path] for path in paths], np.int64)
        self._keys: dict[Relation, NDArray[np.int64]] = {}
        self._weights: dict[Relation, NDArray[np.float32]] = {}
        rows = proposals.to_pylist()
        for relation in RELATIONS:
            best: dict[int, float] = {}
            for row in rows:
                ends = [number.get(tuple(row[name]), -1) for name in ("category", "other")]
                if row["relation"] == relation and min(ends) >= 0:
                    key = min(ends) * self._types + max(ends)
                    best[key] = max(best.get(key, 0.0), row["weight"])
            self._keys[relation] = np.array(list(best), np.int64)
            self._weights[relation] = np.array([*best.values(), 0], np.float32)

    def weights(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
        """Weights of pairs of item rows, (pairs, 2) by relation, from 0 (not proposed) to 1, in either direction."""
        keys = pair_keys(self._type[a], self._type[b], self._types)
        # -1, of a pair of types that was not proposed, takes the 0 at the end.
        return np.stack([self._weights[name][find_keys(self._keys[name], keys)] for name in RELATIONS], axis=1)
