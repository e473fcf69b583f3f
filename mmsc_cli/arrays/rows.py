"""Division that is safe where there is nothing to divide by, and rows of unit length."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
