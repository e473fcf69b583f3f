"""The linear branch for new items: kNN-transfer, as `train` gives it to items without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import greatest
from mmsc_cli.linear.transfer import transfer_rows
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation


@dataclass(frozen=True)
class TransferBranch:
    """Training pairs per relation as symmetric (items, items) strengths, and how the branch is mixed in.

    Attributes:
        adjacency: per relation.
        weight: per relation, as chosen on validation for cold items.
        keep: entries kept, the greatest.
    """

    adjacency: dict[Relation, sparse.csr_array[Any]]
    weight: dict[Relation, float]
    keep: int

    @classmethod
    def of(cls, pairs: Pairs, items: int, weight: dict[Relation, float], keep: int) -> TransferBranch:
        """From the pair table of a catalogue of so many items."""
        training = pairs.of("train")
        adjacency = {relation: training.adjacency(relation, items) for relation in RELATIONS}
        return cls(adjacency, weight, keep)

    def rows(self, relation: Relation, similar: sparse.csr_array[Any]) -> sparse.csr_array[Any]:
        """What the branch adds to the scores of new items, (new, items) sparse.

        Args:
            relation: which relation.
            similar: (new, items) similarities to items with behaviour, rows summing to one, or to zero without any.
        """
        rows = greatest(transfer_rows(similar, self.adjacency[relation]), self.keep)
        rows.data *= np.float32(self.weight[relation])
        return rows
