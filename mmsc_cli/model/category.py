"""Category paths as numbers, and how often shoppers relate two categories."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.model.features import ItemFeatures


def category_paths(items: ItemFeatures) -> NDArray[np.int64]:
    """(items, depth): the nodes of each item's category path from the root, 0 where it has ended or is unknown."""
    node, start = items.category.cpu().numpy(), items.category_start.cpu().numpy()
    length = np.diff(np.append(start, len(node)))
    paths = np.zeros((len(items), int(length.max(initial=1))), np.int64)
    row = np.repeat(np.arange(len(items)), length)
    paths[row, np.arange(len(node)) - start[row]] = node
    return paths


class CategoryAffinity:
    """How much more often two leaf categories are related than chance would have it, as a log ratio."""

    def __init__(self, adjacency: sparse.csr_array[Any], leaf: NDArray[np.int64]) -> None:
        """Count pairs by the categories of their ends.

        Args:
            adjacency: symmetric (items, items), non-zero where a training pair holds.
            leaf: (items,) category numbers, 0 unknown.
        """
        self._leaf = leaf
        self._leaves = int(leaf.max(initial=0)) + 1
        entries = adjacency.tocoo()
        keys = leaf[entries.row] * self._leaves + leaf[entries.col]
        self._keys, self._count = np.unique(keys, return_counts=True)
        self._total = np.bincount(leaf[entries.row], minlength=self._leaves).astype(np.float64)

    def log_ratio(
        self, a: NDArray[np.int64], b: NDArray[np.int64], self_count: NDArray[np.float32] | float = 0.0
    ) -> NDArray[np.float32]:
        """Of the pairs (a, b), which are broadcast; `self_count`: 1 where the pair itself is in the counts."""
        left, right = self._leaf[a], self._leaf[b]
        keys = left * self._leaves + right
        position = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        seen = (
            np.where(self._keys[position] == keys, self._count[position], 0)
            if len(self._keys)
            else np.zeros(keys.shape)
        )
        # A pair within one category stands in its cell twice, once in each direction.
        taken = self_count * np.where(left == right, 2, 1)
        rest = np.maximum(self._total.sum() - 2 * self_count, 1)
        seen, expected = seen - taken, (self._total[left] - taken) * (self._total[right] - taken) / rest
        ratio: NDArray[np.float32] = np.log((seen + 0.5) / (expected + 0.5)).astype(np.float32)
        return ratio
