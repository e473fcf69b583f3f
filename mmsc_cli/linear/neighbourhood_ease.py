"""EASE for large catalogues: each item's weights are fitted on the items nearest to it, and nothing dense is needed.

Restricting a linear item-to-item model to neighbourhoods is an idea of Ning & Karypis, "SLIM: Sparse Linear Methods for
Top-N Recommender Systems", ICDM 2011 (their fsSLIM); loss and penalty are those of EASE (`mmsc_cli.linear.ease`). With
neighbourhoods of the whole catalogue the two are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

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
