"""EASE for large catalogues: the weights of an item are fitted on the items nearest to it.

Restricting a linear item-to-item model to neighbourhoods is an idea of Ning & Karypis, "SLIM: Sparse Linear Methods for
Top-N Recommender Systems", ICDM 2011 (fsSLIM). Loss and penalty are those of EASE (`mmsc_cli.linear.ease`). If the
neighbourhood is the whole catalogue, the two are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from mmsc_cli.arrays.sparse_rows import best_entries
from mmsc_cli.runtime.machine.cores import usable_cores
from mmsc_cli.runtime.parallel import map_blocks

# Items whose small Gram matrices are in memory at a time, in all threads: 8,192 * 100 * 100 float32 are 330 MB.
SOLVED = 8_192
CHUNK = 1_024
# Of a row of the Gram matrix, the entries kept. Memory stays in proportion to the items; what is cut is small.
GRAM_ROW = 512
# An input row longer than this (a bestseller's) would square into the Gram matrix; its strongest entries stay.
LONGEST_ROW = 1_000


class NeighbourhoodEase:
    """Scores X B, where a column of B has weights on its `neighbours` nearest items alone."""

    def __init__(
        self,
        inputs: sparse.csr_array[Any],
        regularisation: float = 30.0,
        neighbours: int = 100,
        gram: CutGram | None = None,
    ) -> None:
        """Fit on X, shape (rows, items).

        The nearest items are those with the highest entries in the item's column of the Gram matrix. Takes
        O(items * neighbours^3) time. `gram`: of X, where it is there already, for another `regularisation`.
        """
        self._inputs = inputs
        self.weights = (gram or CutGram.of(inputs)).fit(regularisation, neighbours)

    def rows(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of shape (queries, items); `queries` are rows of X."""
        return np.asarray(self.sparse_rows(queries).toarray(), dtype=np.float32)

    def sparse_rows(self, queries: NDArray[np.int64]) -> sparse.csr_array[Any]:
        """The same without the zeros."""
        return sparse.csr_array(self._inputs[queries] @ self.weights)


@dataclass(frozen=True)
class CutGram:
    """The highest entries of each row of X'X, (items, width), the highest first, for X of shape (rows, items).

    Where a row has fewer, the column is the number of items and the value 0.
    """

    columns: NDArray[np.int32]
    values: NDArray[np.float32]

    @classmethod
    def of(cls, inputs: sparse.csr_array[Any]) -> CutGram:
        """Multiply; the strongest entries of long rows count alone."""
        items = inputs.shape[1]
        if not inputs.nnz:
            return cls(np.full((items, 1), items, np.int32), np.zeros((items, 1), np.float32))
        return cls(*_gram(_without_long_rows(inputs), min(GRAM_ROW, items)))

    def fit(self, regularisation: float, neighbours: int) -> sparse.csr_array[Any]:
        """B, shape (items, items): at most `neighbours` weights a column, none on itself."""
        items = len(self.columns)
        neighbours = min(neighbours, items - 1)
        if neighbours < 1 or not self.values.any():
            return sparse.csr_array(sparse.coo_array((items, items), dtype=np.float32))
        nearest, overlap = _leave_out_own(self.columns, self.values, neighbours)

        # Items that are near to one another are solved together, since they read the same rows of the Gram matrix.
        in_order = np.argsort(nearest.min(axis=1), kind="stable")

        size = max(1, SOLVED // usable_cores())

        def solve(start: int) -> NDArray[np.float32]:
            chunk = in_order[start : start + size]
            among = _among(self.columns, self.values, nearest[chunk])
            among.reshape(len(among), -1)[:, :: neighbours + 1] += np.float32(regularisation)
            return _solve(among, overlap[chunk])

        weights = np.empty((items, neighbours), np.float32)
        weights[in_order] = np.concatenate(list(map_blocks(solve, range(0, items, size))))
        kept = nearest < items
        pointers = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
        # Fitted column by column, so that the rows here are the columns of B.
        columns_of_b = sparse.csr_array((weights[kept], nearest[kept], pointers), shape=(items, items))
        return sparse.csr_array(columns_of_b.T)


def fit_weights(inputs: sparse.csr_array[Any], regularisation: float, neighbours: int) -> sparse.csr_array[Any]:
    """B, shape (items, items), for X of shape (rows, items): at most `neighbours` weights a column, none on itself."""
    return CutGram.of(inputs).fit(regularisation, neighbours)


def _solve(matrices: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Solve symmetric systems (systems, k, k) for one right-hand side each, (systems, k)."""
    solved = np.empty_like(wanted)
    for number, (matrix, right) in enumerate(zip(matrices, wanted, strict=True)):
        # A fifth of the time of torch's batched Cholesky. Cut rows are not quite symmetric: the lower triangle counts.
        _, solved[number], failed = linalg.lapack.sposv(matrix.T, right, lower=0)
        # Cut rows may leave a Gram matrix with an eigenvalue below 0, which only this factorisation minds.
        if failed:
            solved[number] = linalg.solve(matrix, right)
    return solved


def _without_long_rows(inputs: sparse.csr_array[Any]) -> sparse.csr_array[Any]:
    long_rows = np.diff(inputs.indptr) > LONGEST_ROW
    if not long_rows.any():
        return inputs
    rows = np.flatnonzero(long_rows)
    columns, values = best_entries(sparse.csr_array(inputs[rows]), LONGEST_ROW)
    least = np.full(inputs.shape[0], -np.inf, np.float32)
    least[rows] = np.where(columns >= 0, values, np.inf).min(axis=1)
    kept = inputs.copy()
    kept.data[kept.data < np.repeat(least, np.diff(kept.indptr))] = 0
    kept.eliminate_zeros()
    return kept


def _gram(inputs: sparse.csr_array[Any], width: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Columns and values of a `CutGram`."""
    items = inputs.shape[1]
    by_item = sparse.csr_array(inputs.T)

    def best(start: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        return best_entries(sparse.csr_array(by_item[start : start + CHUNK] @ inputs), width)

    columns, values = (np.concatenate(part) for part in zip(*map_blocks(best, range(0, items, CHUNK)), strict=True))
    return np.where(columns < 0, np.int32(items), columns), values


def _leave_out_own(
    columns: NDArray[np.int32], values: NDArray[np.float32], neighbours: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The first `neighbours` entries of each row but the item's own, (items, neighbours)."""
    items = len(columns)
    first = columns[:, : neighbours + 1]
    is_self = first == np.arange(items)[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    return first[~is_self].reshape(items, -1), values[:, : neighbours + 1][~is_self].reshape(items, -1)


def _among(columns: NDArray[np.int32], values: NDArray[np.float32], nearest: NDArray[np.int32]) -> NDArray[np.float32]:
    """Gram matrices of the items in each row of `nearest` (rows, k): (rows, k, k).

    A row of the whole Gram matrix is spread out once and read for all rows that have its item: that takes a tenth of
    the time of a product per row.
    """
    items = len(columns)
    rows, width = nearest.shape
    among = np.zeros((rows * width, width), np.float32)
    nearest = nearest.astype(np.intp)  # once, and not whenever they are read
    slots = nearest.ravel()
    order = np.argsort(slots, kind="stable")
    start_of = np.searchsorted(slots[order], np.arange(items + 1))
    spread_out = np.zeros(items + 1, np.float32)
    for item in np.unique(slots):
        if item == items:
            continue
        where = order[start_of[item] : start_of[item + 1]]
        spread_out[columns[item]] = values[item]
        spread_out[items] = 0
        among[where] = spread_out.take(nearest[where // width], mode="wrap")
        spread_out[columns[item]] = 0
    return among.reshape(rows, width, width)
