"""Rows of unit length: what every encoder returns and what `embeddings/` holds.

1 / x where there is something to divide by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Scale each row of (n, dim) to length one, as float32; a zero row, which says nothing, stays zero."""
    rows = np.asarray(rows, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return unit


def reciprocal(values: NDArray[Any]) -> NDArray[np.float32]:
    """1 / values, and 0 where a value is 0, of the same shape: an item without neighbours shares nothing out."""
    found: NDArray[np.float32] = np.divide(1, values, out=np.zeros(values.shape, np.float32), where=values > 0)
    return found
