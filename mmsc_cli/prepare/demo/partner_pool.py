"""Weighted draws of a partner for many items at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class PartnerPool:
    """Draws a partner of an item, in proportion to the weight of each candidate."""

    def __init__(
        self,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        weight: NDArray[np.float64],
        items: int,
        random: np.random.Generator,
    ) -> None:
        """Candidate pairs and their weights, shape (candidates,); `items` is the size of the catalogue."""
        order = np.argsort(source, kind="stable")
        self._target = np.append(target[order], -1)
        self._first = np.searchsorted(source[order], np.arange(items + 1))
        self._cumulative = np.concatenate([[0.0], np.cumsum(weight[order])])
        self._random = random

    def draw(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one partner for each of `rows`; -1 for a row of -1 and for an item without any."""
        first, end = self._first[rows], self._first[rows + 1]
        low, high = self._cumulative[first], self._cumulative[end]
        point = low + self._random.random(len(rows)) * (high - low)
        place = np.searchsorted(self._cumulative, point, side="right") - 1
        drawn = self._target[np.clip(place, first, np.maximum(end - 1, first))]
        return np.where((rows >= 0) & (end > first), drawn, -1)
