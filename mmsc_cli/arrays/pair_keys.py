from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def find_pairs(
    known_a: NDArray[Any], known_b: NDArray[Any], a: NDArray[Any], b: NDArray[Any], items: int
) -> NDArray[np.int64]:
    """The place of each pair `a < b` of item rows among known ones, -1 where it is not among them; shape (pairs,)."""
    known = np.asarray(known_a, np.int64) * items + known_b
    order = np.argsort(known)
    asked = np.asarray(a, np.int64) * items + np.asarray(b, np.int64)
    if not len(known):
        return np.full(len(asked), -1, np.int64)
    place = np.minimum(np.searchsorted(known[order], asked), len(known) - 1)
    return np.where(known[order][place] == asked, order[place], -1)
