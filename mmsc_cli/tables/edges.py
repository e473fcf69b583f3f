"""The edge table, `model/edges.parquet`: how far the model believes each behaviour pair it was trained on.

A row is a training pair of item rows, `a < b`. `strength_...` is how strongly the pair was seen in a relation, 0 for
never; `reliability_...` is the learned probability, 0 to 1, that the pair is no accident, null where it was never seen
in that relation. The pairs that a model distrusts have a low reliability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.tables.table import ENDS, ArtefactTable, PairTable

EDGE_SCHEMA = pa.schema(
    [
        *ENDS,
        *(pa.field(f"strength_{relation}", pa.float32(), nullable=False) for relation in RELATIONS),
        *(pa.field(f"reliability_{relation}", pa.float32()) for relation in RELATIONS),
    ]
)


@dataclass(frozen=True)
class Edges(PairTable):
    """The edge table in memory.

    Attributes:
        strength: per relation shape (pairs,), 0 where the pair was not seen in it.
        reliability: per relation shape (pairs,), NaN where the pair was not seen in it.
    """

    TABLE: ClassVar[ArtefactTable] = ArtefactTable(EDGE_SCHEMA, "an edge table", "mmsc train")

    strength: Mapping[Relation, NDArray[np.float32]]
    reliability: Mapping[Relation, NDArray[np.float32]]

    @classmethod
    def of_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Self:
        """Build the table from its columns by name."""
        strength, reliability = (
            {relation: columns[f"{kind}_{relation}"] for relation in RELATIONS} for kind in ("strength", "reliability")
        )
        return cls(columns["a"], columns["b"], strength, reliability)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns by name."""
        strength = {f"strength_{relation}": self.strength[relation] for relation in RELATIONS}
        reliability = {f"reliability_{relation}": self.reliability[relation] for relation in RELATIONS}
        return {"a": self.a, "b": self.b, **strength, **reliability}
