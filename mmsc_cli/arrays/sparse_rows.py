"""The greatest entries of rows of scores, in comparable units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def symmetric_matrix(
    a: NDArray[Any], b: NDArray[Any], values: NDArray[Any] | None, items: int
) -> sparse.csr_array[Any]:
    """Sparse (items, items) matrix that holds `values` (None: true) at (a, b) and (b, a); pairs must be unique."""
    if values is None:
        values = np.ones(len(a), np.bool_)
    entries = np.concatenate([values, values])
    coordinates = (np.concatenate([a, b]), np.concatenate([b, a]))
    return sparse.coo_array((entries, coordinates), shape=(items, items)).tocsr()


def greatest(rows: sparse.csr_array[Any] | NDArray[np.float32], keep: int) -> sparse.csr_array[Any]:
    """Keep the `keep` greatest entries above 0 of each row of (rows, items), divided by their spread.

    In units of a row's own spread (the standard deviation of its `keep` greatest entries, zeros among them) one weight
    fits rows of few and of many neighbours.
    """
    count, items = rows.shape
    keep = min(keep, items)
    row: NDArray[Any]
    column: NDArray[Any]
    if isinstance(rows, np.ndarray):
        column = np.argpartition(rows, items - keep, axis=1)[:, -keep:].ravel()
        row = np.repeat(np.arange(count), keep)
        value = rows[row, column]
    else:
        row = np.repeat(np.arange(count), np.diff(rows.indptr))
        order = np.lexsort((-rows.data, row))
        best = order[np.arange(len(row)) - rows.indptr[row] < keep]
        row, column, value = row[best], rows.indices[best], rows.data[best]
    mean, square = (np.bincount(row, weights=value**power, minlength=count) / keep for power in (1, 2))
    spread = np.sqrt(np.maximum(square - mean**2, 0)) + 1e-6
    scaled = (np.maximum(value, 0) / spread[row]).astype(np.float32)
    matrix = sparse.coo_array((scaled, (row, column)), shape=(count, items)).tocsr()
    matrix.eliminate_zeros()
    return matrix
