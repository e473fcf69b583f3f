"""The edge table, `model/edges.parquet`: how far the model believes each behaviour pair it was trained on.

A row is a training pair, `a < b` (item rows). `strength_…` is how strongly the pair was seen in a relation, 0 never;
`reliability_…` is the learned probability, 0 to 1, that it is no accident, null where the pair was never seen in that
relation. The pairs a model distrusts are those with a low reliability.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.tables.table import read_artefact_table

EDGE_SCHEMA = pa.schema(
    [
        pa.field("a", pa.int32(), nullable=False),
        pa.field("b", pa.int32(), nullable=False),
        *(pa.field(f"strength_{relation}", pa.float32(), nullable=False) for relation in RELATIONS),
        *(pa.field(f"reliability_{relation}", pa.float32()) for relation in RELATIONS),
    ]
)


@dataclass(frozen=True)
class Edges:
    """The edge table in memory.

    Attributes:
        a: item rows, shape (pairs,).
        b: item rows, shape (pairs,).
        strength: per relation shape (pairs,), 0 where the pair was not seen in it.
        reliability: per relation shape (pairs,), NaN where the pair was not seen in it.
    """

    a: NDArray[np.int32]
    b: NDArray[np.int32]
    strength: dict[Relation, NDArray[np.float32]]
    reliability: dict[Relation, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.a)


def write_edges(path: Path, edges: Edges) -> None:
    """Write the edge table, atomically."""
    columns = {"a": pa.array(edges.a, pa.int32()), "b": pa.array(edges.b, pa.int32())}
    for relation in RELATIONS:
        columns[f"strength_{relation}"] = pa.array(edges.strength[relation], pa.float32())
        columns[f"reliability_{relation}"] = pa.array(edges.reliability[relation], pa.float32(), from_pandas=True)
    with atomic_write(path) as file:
        pq.write_table(pa.table(columns).select(EDGE_SCHEMA.names).cast(EDGE_SCHEMA), file, compression="zstd")


def read_edges(path: Path) -> Edges:
    """Read the edge table.

    Raises:
        WorkspaceError: the file is missing or is no edge table.
    """
    table = read_artefact_table(path, EDGE_SCHEMA, what="an edge table", made_by="mmsc train")
    columns = {name: table[name].to_numpy() for name in EDGE_SCHEMA.names}
    return Edges(
        columns["a"],
        columns["b"],
        {relation: columns[f"strength_{relation}"] for relation in RELATIONS},
        {relation: columns[f"reliability_{relation}"] for relation in RELATIONS},
    )
