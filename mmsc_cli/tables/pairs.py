"""The pair table, `pairs.parquet`: what a row means, which pairs are in which split, how strong a pair is.

A row is an unordered pair of items, `a < b`, with four strengths: `view_ab` says how strongly shoppers of `a` view
`b`, `buy_ab` how strongly they buy it with `a`; 0 means never seen. Co-view is the (noisy) sign of a substitute,
co-purchase of a complement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.tables.relations import BEHAVIOUR, RELATIONS, Relation
from mmsc_cli.tables.table import read_artefact_table

PairSplit = Literal["train", "valid", "test"]
STRENGTHS = ("view_ab", "view_ba", "buy_ab", "buy_ba")

PAIR_SCHEMA = pa.schema(
    [
        pa.field("a", pa.int32(), nullable=False),
        pa.field("b", pa.int32(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in STRENGTHS),
        pa.field("split", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Pairs:
    """The pair table in memory; all arrays have shape (pairs,)."""

    a: NDArray[np.int32]
    b: NDArray[np.int32]
    view_ab: NDArray[np.float32]
    view_ba: NDArray[np.float32]
    buy_ab: NDArray[np.float32]
    buy_ba: NDArray[np.float32]
    split: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.a)

    def strength(self, relation: Relation) -> NDArray[np.float32]:
        """Strength of each pair in a relation, the stronger of the two directions; 0 where it does not hold."""
        kind = BEHAVIOUR[relation]
        stronger: NDArray[np.float32] = np.maximum(getattr(self, f"{kind}_ab"), getattr(self, f"{kind}_ba"))
        return stronger

    def holds(self, relation: Relation) -> NDArray[np.bool_]:
        """Whether each pair was seen in the behaviour of a relation."""
        return self.strength(relation) > 0

    def ambiguous(self) -> NDArray[np.bool_]:
        """Pairs seen in both relations: behaviour does not tell which one they are."""
        first, second = (self.holds(relation) for relation in RELATIONS)
        return first & second

    def select(self, mask: NDArray[np.bool_]) -> Pairs:
        """The rows where `mask` is true."""
        return Pairs(*(getattr(self, name)[mask] for name in ("a", "b", *STRENGTHS, "split")))

    def of(self, *splits: PairSplit) -> Pairs:
        """The pairs of the given splits."""
        return self.select(np.isin(self.split, splits))

    def adjacency(self, relation: Relation, items: int, *, weighted: bool = True) -> sparse.csr_array[Any]:
        """Symmetric (items, items) float32 matrix of a relation: strengths, or ones where it holds."""
        strength = self.strength(relation)
        keep = strength > 0
        a, b = self.a[keep], self.b[keep]
        values = strength[keep] if weighted else np.ones(len(a), np.float32)
        return symmetric_matrix(a, b, values, items)

    def lists(self, relation: Relation, items: int) -> sparse.csr_array[Any]:
        """Directed (items, items) float32 matrix of a relation: how strongly shoppers of the row choose the column."""
        kind = BEHAVIOUR[relation]
        strength = np.concatenate([getattr(self, f"{kind}_ab"), getattr(self, f"{kind}_ba")])
        keep = strength > 0
        query, answer = np.concatenate([self.a, self.b])[keep], np.concatenate([self.b, self.a])[keep]
        return sparse.coo_array((strength[keep], (query, answer)), shape=(items, items)).tocsr()


def write_pairs(path: Path, pairs: Pairs) -> None:
    """Write the pair table, atomically."""
    table = pa.table({name: pa.array(getattr(pairs, name)) for name in PAIR_SCHEMA.names})
    with atomic_write(path) as file:
        pq.write_table(table.cast(PAIR_SCHEMA), file, compression="zstd")


def read_pairs(path: Path) -> Pairs:
    """Read the pair table.

    Raises:
        WorkspaceError: the file is missing or is no pair table.
    """
    table = read_artefact_table(path, PAIR_SCHEMA, what="a pair table", made_by="mmsc prepare SOURCE")
    columns = {name: table[name].to_numpy() for name in PAIR_SCHEMA.names}
    columns["split"] = columns["split"].astype(np.str_)
    return Pairs(**columns)
