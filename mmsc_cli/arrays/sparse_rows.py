"""Sparse matrices over the items: both directions of pairs, and the highest entries of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.rows import divide
from mmsc_cli.arrays.top import top_columns


def both_directions(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return queries and answers, each (2 * pairs,): first from a to b, then from b to a."""
    return np.concatenate([a, b]), np.concatenate([b, a])


def symmetric_matrix(
    a: NDArray[Any], b: NDArray[Any], values: NDArray[Any] | None, n_items: int
) -> sparse.csr_array[Any]:
    """Build the sparse (n_items, n_items) matrix with `values` at (a, b) and (b, a).

    Args:
        a: one end of unique pairs of item rows, shape (pairs,).
        b: the other end, shape (pairs,).
        values: shape (pairs,); None: true.
        n_items: size of the catalogue.
    """
    if values is None:
        values = np.ones(len(a), np.bool_)
    return sparse.coo_array((np.tile(values, 2), both_directions(a, b)), shape=(n_items, n_items)).tocsr()


def greatest(rows: sparse.csr_array[Any] | NDArray[np.float32], keep: int) -> sparse.csr_array[Any]:
    """Keep the `keep` highest entries above 0 of each row of (rows, n_items), divided by their spread.

    The spread is the standard deviation of the row's `keep` highest entries, missing ones counted as zeros. In this
    unit one weight fits rows of items with few neighbours and with many.
    """
    n_rows, n_items = rows.shape
    keep = min(keep, n_items)
    # row, column, value: one element for each entry kept, (entries,).
    row: NDArray[Any]
    column: NDArray[Any]
    if isinstance(rows, np.ndarray):
        column = top_columns(rows, keep).ravel()
        row = np.repeat(np.arange(n_rows), keep)
        value = rows[row, column]
    else:
        row = np.repeat(np.arange(n_rows), np.diff(rows.indptr))
        # By row, the highest first, so that an entry's rank in its row is its distance from the row's start.
        order = np.lexsort((-rows.data, row))
        best = order[np.arange(len(row)) - rows.indptr[row] < keep]
        row, column, value = row[best], rows.indices[best], rows.data[best]
    mean, square = (np.bincount(row, weights=value**power, minlength=n_rows) / keep for power in (1, 2))
    spread = np.sqrt(np.maximum(square - mean**2, 0)) + 1e-6
    scaled = divide(np.maximum(value, 0), spread[row]).astype(np.float32)
    matrix = sparse.coo_array((scaled, (row, column)), shape=(n_rows, n_items)).tocsr()
    matrix.eliminate_zeros()
    return matrix
