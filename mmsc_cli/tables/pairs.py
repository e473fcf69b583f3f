"""The pair table, `pairs.parquet`: how strongly shoppers viewed and bought two items together, and the split.

A row is an unordered pair of item rows, `a < b`, with four strengths: `view_ab` is how strongly shoppers of `a` view
`b`, `buy_ab` how strongly they buy it with `a`; 0 means never seen. Co-view is the (noisy) sign of a substitute,
co-purchase of a complement. `views_together` and `purchases_together` are the numbers of sessions behind it, 0 where
the source does not say them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import both_directions, symmetric_matrix
from mmsc_cli.tables.relations import BEHAVIOUR, RELATIONS, Relation
from mmsc_cli.tables.table import ENDS, ArtefactTable, PairTable

PairSplit = Literal["train", "valid", "test"]
STRENGTHS = ("view_ab", "view_ba", "buy_ab", "buy_ba")
TOGETHER: dict[Relation, str] = {"substitute": "views_together", "complement": "purchases_together"}
PAIR_SCHEMA = pa.schema(
    [
        *ENDS,
        *(pa.field(name, pa.float32(), nullable=False) for name in STRENGTHS),
        pa.field("split", pa.string(), nullable=False),
        *(pa.field(name, pa.int32()) for name in TOGETHER.values()),
    ]
)


def _unknown() -> NDArray[np.int32]:
    return np.zeros(0, np.int32)


@dataclass(frozen=True)
class Pairs(PairTable):
    """The pair table in memory; all arrays have shape (pairs,)."""

    TABLE: ClassVar[ArtefactTable] = ArtefactTable(
        PAIR_SCHEMA, "a pair table", "mmsc prepare SOURCE", frozenset(TOGETHER.values())
    )

    view_ab: NDArray[np.float32]
    view_ba: NDArray[np.float32]
    buy_ab: NDArray[np.float32]
    buy_ba: NDArray[np.float32]
    split: NDArray[np.str_]
    views_together: NDArray[np.int32] = field(default_factory=_unknown)
    purchases_together: NDArray[np.int32] = field(default_factory=_unknown)

    def __post_init__(self) -> None:
        for name in TOGETHER.values():
            if len(getattr(self, name)) != len(self.a):
                object.__setattr__(self, name, np.zeros(len(self.a), np.int32))

    @classmethod
    def find_impossible(cls, columns: Mapping[str, NDArray[Any]], n_items: int | None) -> str | None:
        """Return what of the columns cannot be, strengths and splits included."""
        if any((columns[name] < 0).any() for name in STRENGTHS):
            return "a strength is below 0"
        if not np.isin(columns["split"], get_args(PairSplit)).all():
            return f"a split is none of {', '.join(get_args(PairSplit))}"
        return super().find_impossible(columns, n_items)

    def together(self, relation: Relation) -> NDArray[np.int32]:
        """Return in how many sessions each pair was seen in a relation, 0 where the source does not say."""
        counts: NDArray[np.int32] = getattr(self, TOGETHER[relation])
        return counts

    def strength(self, relation: Relation) -> NDArray[np.float32]:
        """Return the strength of each pair in a relation: the stronger direction, 0 where it does not hold."""
        kind = BEHAVIOUR[relation]
        stronger: NDArray[np.float32] = np.maximum(getattr(self, f"{kind}_ab"), getattr(self, f"{kind}_ba"))
        return stronger

    def holds(self, relation: Relation) -> NDArray[np.bool_]:
        """Return whether each pair was seen in the behaviour of a relation."""
        return self.strength(relation) > 0

    def ambiguous(self) -> NDArray[np.bool_]:
        """Return which pairs were seen in both relations, so that behaviour does not tell which one they are."""
        first, second = (self.holds(relation) for relation in RELATIONS)
        return first & second

    def of(self, *splits: PairSplit) -> Pairs:
        """Return the pairs of the given splits."""
        return self.select(np.isin(self.split, splits))

    def adjacency(self, relation: Relation, n_items: int, *, weighted: bool = True) -> sparse.csr_array[Any]:
        """Return the symmetric (n_items, n_items) float32 matrix of a relation: strengths, or ones where it holds."""
        strength = self.strength(relation)
        keep = strength > 0
        values = strength[keep] if weighted else np.ones(int(keep.sum()), np.float32)
        return symmetric_matrix(self.a[keep], self.b[keep], values, n_items)

    def lists(self, relation: Relation, n_items: int) -> sparse.csr_array[Any]:
        """Return how strongly shoppers of the row item choose the column item, (n_items, n_items) float32."""
        kind = BEHAVIOUR[relation]
        strength = np.concatenate([getattr(self, f"{kind}_ab"), getattr(self, f"{kind}_ba")])
        keep = strength > 0
        query, answer = (ends[keep] for ends in both_directions(self.a, self.b))
        return sparse.coo_array((strength[keep], (query, answer)), shape=(n_items, n_items)).tocsr()
