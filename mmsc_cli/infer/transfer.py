"""The linear branch for new items: kNN-transfer, as `train` gives it to items without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.linear.greatest import greatest
from mmsc_cli.linear.transfer import transfer_rows
from mmsc_cli.pairs import Pairs
from mmsc_cli.relations import RELATIONS, Relation


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

    def scores(self, relation: Relation, similar: sparse.csr_array[Any]) -> NDArray[np.float32]:
        """What the branch adds to the score of each item, (items,), for a new item.

        Args:
            relation: which relation.
            similar: (1, items) similarities to items with behaviour, summing to one (to none where there are none).
        """
        row: NDArray[np.float32] = greatest(transfer_rows(similar, self.adjacency[relation]), self.keep).toarray()[0]
        return self.weight[relation] * row
