"""Personalised PageRank: where a walk from the query that restarts now and then is likely to be.

Sources: Page et al., "The PageRank Citation Ranking", 1999; Haveliwala, "Topic-Sensitive PageRank", WWW 2002. The walk
ends after a few steps, which keeps it near the query.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.rows import reciprocal
from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows, every

PPR_GRID = every(steps=(3, 2, 5), damping=(0.85, 0.5), strengths=(True, False))


def fit_ppr(task: FittingTask, *, steps: int, damping: float, strengths: bool) -> ScoreRows:
    """Score by a walk over the relation's pairs.

    Args:
        task: what to fit on.
        steps: length of the walk.
        damping: probability of going on rather than restarting.
        strengths: whether the walk prefers strong pairs.
    """
    adjacency, outside = task.adjacency(strengths=strengths), task.outside()
    if not strengths:
        outside.data[:] = 1
    if outside.nnz:
        # The walk may lead over partners outside the catalogue; only items are answers.
        blocks: list[list[Any]] = [[adjacency, outside], [outside.T, None]]
        adjacency = sparse.csr_array(sparse.block_array(blocks))
    walk = walk_rows(adjacency, steps, damping)
    return lambda queries: np.ascontiguousarray(walk(queries)[:, : task.context.n_items])


def walk_rows(adjacency: sparse.csr_array[Any], steps: int, damping: float) -> ScoreRows:
    """score(i, .) = sum over t of damping^t times row i of P^t, t = 1 .. steps, P the row-normalised adjacency.

    The factor 1 - damping and the summand of t = 0 are left out: they change no order. `adjacency` is symmetric.
    """
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    step = sparse.csr_array(sparse.diags_array(damping * reciprocal(degree)) @ adjacency)
    # scipy multiplies dense columns by a sparse matrix, so the walk is held as columns, (items, queries).
    transposed = sparse.csr_array(step.T)

    def rows(queries: NDArray[np.int64]) -> NDArray[np.float32]:
        walk = step[queries].toarray().astype(np.float32, copy=False).T
        total = walk.copy()
        for _ in range(steps - 1):
            walk = transposed @ walk
            total += walk
        return np.asarray(total.T)

    return rows
