from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK_DEPTH = 64


def top_values(scores: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The `count` highest values of each row, in no order; shape (rows, min(count, columns)).

    The row is cut into blocks; the `count` blocks with the highest maxima hold the `count` highest values
    (each other block has only values that `count` maxima reach), so that only those are searched.
    """
    rows, columns = scores.shape
    width = -(-columns // _BLOCK_DEPTH)
    if width <= count:
        return np.sort(scores, axis=1)[:, -count:]
    padded = np.full((rows, _BLOCK_DEPTH * width), -np.inf, np.float32)
    padded[:, :columns] = scores
    blocks = padded.reshape(rows, _BLOCK_DEPTH, width)
    chosen = np.argpartition(blocks.max(axis=1), width - count, axis=1)[:, -count:]
    candidates = np.take_along_axis(blocks, chosen[:, None, :], axis=2).reshape(rows, _BLOCK_DEPTH * count)
    return np.partition(candidates, candidates.shape[1] - count, axis=1)[:, -count:]


# So many rows stand for one when the best are looked for.
_GROUP = 64


def best_rows(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Rows of the `k` best of `scores` (items,), best first, equal scores by row; -inf is left out.

    The k-th best of the maxima of groups of rows is at most the k-th best score: only groups that reach it are looked
    at.
    """
    items = len(scores)
    k = min(k, items)
    groups = items // _GROUP
    if 2 * k < groups:
        grouped = groups * _GROUP
        # A group is every `groups`-th row, so that the maxima are those of long contiguous runs.
        maxima = scores[:grouped].reshape(_GROUP, groups).max(axis=0)
        least = np.partition(maxima, groups - k)[groups - k]
        reaching = np.flatnonzero(maxima >= least)
        rows = (reaching + groups * np.arange(_GROUP)[:, None]).ravel()
        rows = np.concatenate([rows, np.arange(grouped, items)])
    else:
        least = np.partition(scores, items - k)[items - k]
        rows = np.arange(items)
    rows = rows[(scores[rows] >= least) & (scores[rows] > -np.inf)]
    order: NDArray[np.int64] = rows[np.lexsort((rows, -scores[rows]))[:k]]
    return order
