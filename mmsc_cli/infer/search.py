"""Exact search: the best rows of scores, block by block, on as many threads as there are cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.cores import usable_cores
from mmsc_cli.memory import available_memory

In = TypeVar("In")
Out = TypeVar("Out")

# The scores of a block of queries against the whole catalogue, at most; larger blocks are hardly faster.
BLOCK_BYTES = 64 * 2**20
# All cores together take no more than this share of the free memory for scores.
_SHARE_OF_MEMORY = 1 / 16
# So many rows stand for one when the best are looked for.
_GROUP = 64


def block_size(items: int) -> int:
    """How many queries each core of this machine scores at a time against a catalogue of so many items."""
    room = min(BLOCK_BYTES, int(available_memory() * _SHARE_OF_MEMORY) // usable_cores())
    return max(1, room // (4 * max(items, 1)))


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


def in_order(function: Callable[[In], Out], blocks: Sequence[In]) -> Iterator[Out]:
    """`function` of each block, in their order, computed on all cores, a few blocks ahead of who takes them.

    Each thread multiplies alone: numpy's own threads would fight over the cores with ours.
    """
    workers = min(usable_cores(), len(blocks))
    if workers < 2:
        yield from map(function, blocks)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    ahead: deque[Future[Out]] = deque()
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers, thread_name_prefix="search") as pool:
        try:
            for block in blocks:
                ahead.append(pool.submit(function, block))
                if len(ahead) > workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
