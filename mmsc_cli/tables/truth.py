"""The truth table, `truth.parquet`: which pairs of a synthetic catalogue are really substitutes or complements.

A row is an unordered pair, `a < b`; `direction` is that of a complement, with the reading of the label table. It is
there for generated catalogues alone. Only the verdict and the oracle annotator may read it: whatever else did would
no longer be judged by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_pairs
from mmsc_cli.tables.relations import Relation
from mmsc_cli.tables.table import read_artefact_table

TRUTH_SCHEMA = pa.schema(
    [
        pa.field("a", pa.int32(), nullable=False),
        pa.field("b", pa.int32(), nullable=False),
        pa.field("substitute", pa.bool_(), nullable=False),
        pa.field("complement", pa.bool_(), nullable=False),
        pa.field("direction", pa.string()),
    ]
)


@dataclass(frozen=True)
class Truth:
    """The truth table in memory; all arrays have shape (true pairs,). `direction` is "" where there is none."""

    a: NDArray[np.int32]
    b: NDArray[np.int32]
    substitute: NDArray[np.bool_]
    complement: NDArray[np.bool_]
    direction: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.a)

    def holds(self, relation: Relation) -> NDArray[np.bool_]:
        """Whether each pair truly is of a relation."""
        return self.substitute if relation == "substitute" else self.complement

    def find(self, a: NDArray[Any], b: NDArray[Any], items: int) -> NDArray[np.int64]:
        """The row of each pair `a < b` of item rows, -1 where nothing is true of it; shape (pairs,)."""
        return find_pairs(self.a, self.b, a, b, items)

    def of_pairs(self, relation: Relation, a: NDArray[Any], b: NDArray[Any], items: int) -> NDArray[np.bool_]:
        """Whether each pair `a < b` of item rows truly is of a relation, shape (pairs,)."""
        # The row that -1 stands for is one more than there are: nothing is true of it.
        return np.append(self.holds(relation), False)[self.find(a, b, items)]


def read_truth(path: Path) -> Truth:
    """Read the truth table.

    Raises:
        WorkspaceError: the file is missing or is no truth table.
    """
    table = read_artefact_table(path, TRUTH_SCHEMA, what="a truth table", made_by="mmsc prepare SOURCE")
    columns = {name: table[name].to_numpy() for name in TRUTH_SCHEMA.names[:4]}
    direction = np.asarray(table["direction"].fill_null("").to_pylist(), dtype=np.str_)
    return Truth(**columns, direction=direction)
