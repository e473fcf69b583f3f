"""The highest scores of each row, without sorting whole rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK_DEPTH = 64
# Rows per group when the best rows are sought.
_GROUP = 64


def top_columns(scores: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return the columns of the `count` highest scores of each row of (rows, columns), in no order.

    Returns:
        Shape (rows, min(count, columns)).
    """
    columns = scores.shape[1]
    count = min(count, columns)
    if not count:
        return np.zeros((len(scores), 0), np.int64)
    return np.argpartition(scores, columns - count, axis=1)[:, -count:]


def top_values(scores: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return the `count` highest values of each row of (rows, columns), in no order.

    The row is cut into blocks. The `count` blocks with the highest maxima hold the `count` highest values, because in
    any other block every value is below `count` maxima. So only those blocks are searched.

    Returns:
        Shape (rows, min(count, columns)).
    """
    rows, columns = scores.shape
    width = -(-columns // _BLOCK_DEPTH)
    if width <= count:
        return np.sort(scores, axis=1)[:, -count:]
    padded = np.full((rows, _BLOCK_DEPTH * width), -np.inf, np.float32)
    padded[:, :columns] = scores
    # (rows, depth, width): a block is a column of the last axis, so that the maxima are those of contiguous runs.
    blocks = padded.reshape(rows, _BLOCK_DEPTH, width)
    chosen = top_columns(blocks.max(axis=1), count)
    candidates = np.take_along_axis(blocks, chosen[:, None, :], axis=2).reshape(rows, _BLOCK_DEPTH * count)
    return np.partition(candidates, candidates.shape[1] - count, axis=1)[:, -count:]


def best_rows(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the rows of the `k` highest of `scores` (n_items,), best first, equal scores by row, without -inf.

    The k-th highest maximum of groups of rows is at most the k-th highest score, so only groups that reach it are
    searched.
    """
    n_items = len(scores)
    k = min(k, n_items)
    groups = n_items // _GROUP
    if 2 * k < groups:
        grouped = groups * _GROUP
        # A group is every `groups`-th row, so that the maxima are those of long contiguous runs.
        maxima = scores[:grouped].reshape(_GROUP, groups).max(axis=0)
        least = np.partition(maxima, groups - k)[groups - k]
        reaching = np.flatnonzero(maxima >= least)
        rows = (reaching + groups * np.arange(_GROUP)[:, None]).ravel()
        rows = np.concatenate([rows, np.arange(grouped, n_items)])
    else:
        least = np.partition(scores, n_items - k)[n_items - k]
        rows = np.arange(n_items)
    rows = rows[(scores[rows] >= least) & (scores[rows] > -np.inf)]
    order: NDArray[np.int64] = rows[np.lexsort((rows, -scores[rows]))[:k]]
    return order


def rank_in_group(group: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rank from 0 of each element within its group, for a sorted array of groups (n,)."""
    return np.arange(len(group)) - np.searchsorted(group, group)
