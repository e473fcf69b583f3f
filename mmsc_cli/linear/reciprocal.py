"""1 / x where there is something to divide by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def reciprocal(values: NDArray[Any]) -> NDArray[np.float32]:
    """1 / values, and 0 where a value is 0, of the same shape: an item without neighbours shares nothing out."""
    found: NDArray[np.float32] = np.divide(1, values, out=np.zeros(values.shape, np.float32), where=values > 0)
    return found
