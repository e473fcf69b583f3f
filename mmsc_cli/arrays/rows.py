"""Division that is safe where there is nothing to divide by, and rows of unit length."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_PAIRS_AT_A_TIME = 256


def divide(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[Any]:
    """Return numerator / denominator, and 0 where the denominator is not above 0; the two shapes are broadcast.

    float32 stays float32; integers give float64.
    """
    numerator, denominator = np.asarray(numerator), np.asarray(denominator)
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    dtype = np.true_divide(numerator.dtype.type(1), denominator.dtype.type(1)).dtype
    quotient: NDArray[Any] = np.divide(numerator, denominator, out=np.zeros(shape, dtype), where=denominator > 0)
    return quotient


def reciprocal(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return 1 / values as float32, and 0 where a value is not above 0, as for the degree of an isolated item."""
    return divide(np.ones((), values.dtype), values).astype(np.float32, copy=False)


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Scale each row of (n, dim) to length one, as float32; a zero row (no text, no image) stays zero.

    This is what every encoder returns and what `embeddings/` holds.
    """
    rows = np.asarray(rows, dtype=np.float32)
    return divide(rows, np.linalg.norm(rows, axis=1, keepdims=True))


def paired_dots(vectors: NDArray[np.float32], a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the dot products of the vectors (rows, dim) of pairs, shape (pairs,); `a` and `b` are rows."""
    products = np.empty(len(a), np.float32)
    # Few pairs at a time, so that their vectors stay in the processor's cache.
    for start in range(0, len(a), _PAIRS_AT_A_TIME):
        block = slice(start, start + _PAIRS_AT_A_TIME)
        np.einsum("ij,ij->i", vectors[a[block]], vectors[b[block]], out=products[block])
    return products
