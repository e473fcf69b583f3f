"""EASE for large catalogues: each item's weights are fitted on the items nearest to it, and nothing dense is needed.

Restricting a linear item-to-item model to neighbourhoods is an idea of Ning & Karypis, "SLIM: Sparse Linear Methods for
Top-N Recommender Systems", ICDM 2011 (their fsSLIM); loss and penalty are those of EASE (`mmsc_cli.linear.ease`). With
neighbourhoods of the whole catalogue the two are the same.

EASE: the item-to-item weights that best rebuild each item's neighbourhood without using the item itself.

Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, closed form of eq. 8. There the rows
of X are users; here they are the items' own neighbourhoods (`with_self`)."""

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


COLUMNS_PER_CHUNK = 2_048


class NeighbourhoodEase:
    """Scores X B; a column of B has weights on its `neighbours` nearest items alone."""

    def __init__(self, inputs: sparse.csr_array[Any], regularisation: float = 30.0, neighbours: int = 100) -> None:
        """Fit on X, (rows, items).

        The nearest items are those with the largest entries in the item's column of the Gram matrix. Takes
        O(items · neighbours³) time, and memory for items · neighbours weights.
        """
        items = inputs.shape[1]
        self._inputs = inputs
        self._columns = sparse.csr_array(inputs.T)
        found = [
            self._weights_of(start, min(start + COLUMNS_PER_CHUNK, items), regularisation, neighbours)
            for start in range(0, items, COLUMNS_PER_CHUNK)
        ]
        # Fitted column by column, so that the rows here are the columns of B.
        self._weights = sparse.csr_array(sparse.vstack(found, format="csr").T)

    def rows(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of shape (queries, items); `queries` are rows of X."""
        return np.asarray(self.sparse_rows(queries).toarray(), dtype=np.float32)

    def sparse_rows(self, queries: NDArray[np.int64]) -> sparse.csr_array[Any]:
        """The same without the zeros."""
        return sparse.csr_array(self._inputs[queries] @ self._weights)

    def _weights_of(self, start: int, stop: int, regularisation: float, neighbours: int) -> sparse.csr_array[Any]:
        """Columns start .. stop of B, as rows (stop - start, items)."""
        gram = sparse.csr_array(self._columns[start:stop] @ self._inputs)
        pointers, nearest, values = [0], [], []
        for row in range(stop - start):
            part = slice(gram.indptr[row], gram.indptr[row + 1])
            column, overlap = gram.indices[part], gram.data[part]
            other = column != start + row
            column, overlap = column[other], overlap[other]
            if len(column) > neighbours:
                kept = np.argpartition(overlap, len(column) - neighbours)[-neighbours:]
                column, overlap = column[kept], overlap[kept]
            if len(column):
                chosen = self._columns[column]
                among = (chosen @ chosen.T).toarray()
                among.flat[:: len(column) + 1] += np.float32(regularisation)
                values.append(linalg.solve(among, overlap, assume_a="pos", overwrite_a=True, check_finite=False))
                nearest.append(column)
            pointers.append(pointers[-1] + len(column))
        shape = (stop - start, self._inputs.shape[1])
        empty = np.empty(0, np.float32), np.empty(0, np.int32)
        data, indices = np.concatenate([empty[0], *values]), np.concatenate([empty[1], *nearest])
        return sparse.csr_array((data.astype(np.float32, copy=False), indices, np.asarray(pointers)), shape=shape)
