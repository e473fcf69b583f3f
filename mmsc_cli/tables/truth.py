"""The truth table, `truth.parquet`: which pairs of a synthetic catalogue are really substitutes or complements.

A row is an unordered pair of item rows, `a < b`; `direction` is that of a complement, as in the label table. Only
generated catalogues have this table. Only the evaluation and the oracle annotator may read it: anything else that read
it could not be evaluated with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.tables.relations import Relation
from mmsc_cli.tables.table import ENDS, ArtefactTable, PairTable

TRUTH_SCHEMA = pa.schema(
    [
        *ENDS,
        pa.field("substitute", pa.bool_(), nullable=False),
        pa.field("complement", pa.bool_(), nullable=False),
        pa.field("direction", pa.string()),
    ]
)


@dataclass(frozen=True)
class Truth(PairTable):
    """The truth table in memory; all arrays have shape (true pairs,). `direction` is "" where there is none."""

    TABLE: ClassVar[ArtefactTable] = ArtefactTable(TRUTH_SCHEMA, "a truth table", "mmsc prepare SOURCE")

    substitute: NDArray[np.bool_]
    complement: NDArray[np.bool_]
    direction: NDArray[np.str_]

    def holds(self, relation: Relation) -> NDArray[np.bool_]:
        """Return whether each pair truly is of a relation."""
        return self.substitute if relation == "substitute" else self.complement

    def of_pairs(self, relation: Relation, a: NDArray[Any], b: NDArray[Any], n_items: int) -> NDArray[np.bool_]:
        """Return whether each pair of item rows truly is of a relation, shape (pairs,)."""
        # -1, for a pair that is not in the table, takes the element that is appended: nothing is true of it.
        return np.append(self.holds(relation), False)[self.find(a, b, n_items)]
