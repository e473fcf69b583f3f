"""The greatest entries of rows of scores, in comparable units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def greatest(rows: sparse.csr_array[Any] | NDArray[np.float32], keep: int) -> sparse.csr_array[Any]:
    """Keep the `keep` greatest entries above 0 of each row of (rows, items), divided by their spread.

    In units of a row's own spread one weight fits rows of few and of many neighbours.
    """
    dense: NDArray[np.float32] = rows if isinstance(rows, np.ndarray) else rows.toarray()
    keep = min(keep, dense.shape[1])
    columns = np.argpartition(dense, dense.shape[1] - keep, axis=1)[:, -keep:]
    values = np.take_along_axis(dense, columns, axis=1)
    spread = values.std(axis=1, keepdims=True) + 1e-6
    values = np.maximum(values, 0) / spread
    row = np.repeat(np.arange(len(dense)), keep)
    matrix = sparse.coo_array((values.ravel(), (row, columns.ravel())), shape=dense.shape).tocsr()
    matrix.eliminate_zeros()
    return matrix
