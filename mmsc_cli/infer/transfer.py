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

    def scores(
        self, relation: Relation, neighbours: NDArray[np.int64], similarity: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """What the branch adds to the score of each item, (items,).

        Args:
            relation: which relation.
            neighbours: (k,) rows of the most similar items with behaviour, -1 where there are fewer.
            similarity: (k,), 0 where there are fewer.
        """
        adjacency = self.adjacency[relation]
        found = neighbours >= 0
        total = similarity[found].sum()
        if not total:
            return np.zeros(adjacency.shape[0], np.float32)
        columns, shares = neighbours[found], similarity[found] / total
        similar = sparse.csr_array((shares, (np.zeros(len(columns), np.int64), columns)), (1, adjacency.shape[0]))
        row: NDArray[np.float32] = greatest(transfer_rows(similar, adjacency), self.keep).toarray()[0]
        return self.weight[relation] * row
