"""kNN-transfer: an item without behaviour borrows that of the items most similar to it (ours)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from mmsc_cli.arrays.rows import reciprocal


def transfer_rows(
    similar: sparse.csr_array[Any],
    adjacency: sparse.csr_array[Any],
    self_weight: float = 0.5,
    damping: float = 0.5,
) -> sparse.csr_array[Any]:
    """Score the catalogue for items from their similar warm items.

    score(i, j) = sum over similar n of w(i,n) * (A(n,j) / degree(j)^damping) + self_weight * w(i,j)

    Args:
        similar: (queries, items) similarities to warm items, rows summing to one.
        adjacency: symmetric (items, items) matrix of training pairs.
        self_weight: how much the similar items themselves count.
        damping: exponent that keeps bestsellers from winning everywhere.
    """
    degree = np.asarray(adjacency.sum(axis=0)).ravel()
    return sparse.csr_array(
        similar @ adjacency @ sparse.diags_array(reciprocal(degree**damping)) + self_weight * similar
    )
