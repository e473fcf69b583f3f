"""EASE: the item-to-item weights that best rebuild each item's neighbourhood without using the item itself.

Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, closed form of eq. 8. There the rows
of X are users; here they are the items' own neighbourhoods (`with_self`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse


def with_self(adjacency: sparse.csr_array[Any]) -> sparse.csr_array[Any]:
    """Each item's neighbourhood, itself among it: (items, items) adjacency plus identity."""
    return sparse.csr_array(adjacency + sparse.eye_array(adjacency.shape[0], dtype=np.float32, format="csr"))


class Ease:
    """Scores X B, with B the closed-form weights (zero diagonal)."""

    def __init__(self, inputs: sparse.csr_array[Any], regularisation: float = 30.0) -> None:
        """Fit on X, (rows, items).

        Takes O(items³) time and two dense (items, items) float32 matrices while it fits, one afterwards.

        Raises:
            FloatingPointError: the Gram matrix is singular, which a `regularisation` above 0 rules out.
        """
        items = inputs.shape[1]
        self._inputs = inputs
        gram = (self._inputs.T @ self._inputs).toarray(order="F").astype(np.float32, copy=False)
        gram.flat[:: items + 1] += np.float32(regularisation)
        factor, status = linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
        if status:
            raise FloatingPointError(f"EASE: the regularised Gram matrix is singular (LAPACK status {status})")
        inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
        _mirror_lower(inverse)
        # Symmetric, so its transpose is itself, now in the row order that a sparse product reads without a copy.
        inverse = inverse.T
        diagonal = inverse.diagonal().copy()
        inverse /= -diagonal[None, :]
        np.fill_diagonal(inverse, 0)
        self._weights = inverse

    def rows(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of shape (queries, items); `queries` are rows of X."""
        return np.asarray(self._inputs[queries] @ self._weights, dtype=np.float32)


def _mirror_lower(matrix: NDArray[np.float32], block: int = 1024) -> None:
    """Copy the lower triangle to the upper one in place, block by block, so that no second matrix is needed."""
    size = len(matrix)
    for start in range(0, size, block):
        stop = min(start + block, size)
        corner = np.tril(matrix[start:stop, start:stop])
        matrix[start:stop, start:stop] = corner + np.tril(corner, -1).T
        matrix[start:stop, stop:] = matrix[stop:, start:stop].T
