"""Resource allocation: two items are related by their shared neighbours, rarer neighbours counting more.

Source: Zhou, Lü, Zhang, "Predicting missing links via local information", Eur. Phys. J. B 71 (2009).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.rows import reciprocal


class ResourceAllocation:
    """score(i, j) = sum over shared neighbours z of w(i,z) w(z,j) / degree(z)."""

    def __init__(self, adjacency: sparse.csr_array[Any]) -> None:
        """`adjacency`: symmetric (items, items) matrix of training pairs."""
        degree = np.asarray(adjacency.sum(axis=0)).ravel()
        self._adjacency = adjacency
        self._spread = sparse.csr_array(sparse.diags_array(reciprocal(degree)) @ adjacency)

    def rows(self, queries: NDArray[np.int64]) -> sparse.csr_array[Any]:
        """Sparse scores of shape (queries, items)."""
        return sparse.csr_array(self._adjacency[queries] @ self._spread)
