"""Sparse matrices over the items: both directions of pairs, and the highest entries of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.rows import divide
from mmsc_cli.arrays.top import top_columns

LAST_COLUMN = 2**32 - 1
SORTED_TOGETHER = 64
# From this share of filled cells on, writing all of them is quicker than finding their places.
DENSE = 1 / 50


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


def best_entries(rows: sparse.csr_array[Any], keep: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return columns and values of the `keep` highest entries above 0 of each row, the highest first.

    Args:
        rows: shape (rows, n_items), without duplicates.
        keep: entries a row.

    Returns:
        Two arrays of shape (rows, keep); column -1 and value 0 where a row has fewer. Equal values are in the order of
        their columns.
    """
    lengths = np.diff(rows.indptr)
    # Value and column in one number: numpy sorts such numbers several times as fast as it finds their order.
    keys = np.maximum(rows.data, 0, dtype=np.float32).view(np.uint32).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.uint64(LAST_COLUMN) - rows.indices.astype(np.uint64)
    best = np.zeros((len(lengths), keep), np.uint64)
    by_length = np.argsort(lengths, kind="stable")
    # Rows of like lengths together, as all are filled up to the longest.
    for start in range(0, len(by_length), SORTED_TOGETHER):
        block = by_length[start : start + SORTED_TOGETHER]
        filled = np.arange(lengths[block].max(initial=0)) < lengths[block][:, None]
        padded = np.zeros(filled.shape, np.uint64)
        padded[filled] = keys[ranges(rows.indptr[block], lengths[block])]
        padded.sort(axis=1)
        highest = padded[:, ::-1][:, :keep]
        best[block, : highest.shape[1]] = highest
    values = (best >> np.uint64(32)).astype(np.uint32).view(np.float32)
    columns = (np.uint64(LAST_COLUMN) - (best & np.uint64(LAST_COLUMN))).astype(np.int64)
    return np.where(values > 0, columns, -1).astype(np.int32), values


def ranges(starts: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Return starts[0], starts[0] + 1, ... (lengths[0] numbers), starts[1], ... in one array."""
    before = np.cumsum(lengths) - lengths
    numbers: NDArray[np.int64] = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    return numbers


def spread(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation of each row of (rows, entries), (rows, 1): the unit that makes rows comparable."""
    deviation: NDArray[np.float32] = values.std(axis=1, keepdims=True) + np.float32(1e-6)
    return deviation


def entries_at(
    rows: sparse.csr_array[Any], columns: NDArray[np.int64], scratch: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the entries of sparse rows at `columns`, 0 where there is none.

    Args:
        rows: shape (rows, n_items), without duplicates.
        columns: shape (rows, columns).
        scratch: zeros, at least (rows, n_items); zeros again afterwards. Making them zero takes the time of the entries
            of `rows`, not of the catalogue.
    """
    flat = scratch.reshape(-1)
    n_rows, n_items = rows.shape[0], scratch.shape[1]
    starts = np.arange(n_rows)[:, None] * n_items
    if rows.nnz > DENSE * n_rows * n_items:
        rows.toarray(out=scratch[:n_rows])
        entries: NDArray[np.float32] = flat.take(starts + columns)
        scratch[:n_rows] = 0
        return entries
    filled = np.repeat(starts[:, 0], np.diff(rows.indptr)) + rows.indices
    flat[filled] = rows.data
    entries = flat.take(starts + columns)
    flat[filled] = 0
    return entries


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


def row_products(left: sparse.csr_matrix[Any], right: sparse.csr_matrix[Any]) -> NDArray[np.float32]:
    """Product of each row of one (rows, columns) matrix with the same row of another, shape (rows,)."""
    return np.asarray(left.multiply(right).sum(axis=1), dtype=np.float32).ravel()
