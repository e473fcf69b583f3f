"""Personalised PageRank: where a walk from the query that now and then starts over is likely to be.

Sources: Page et al., "The PageRank Citation Ranking", 1999; Haveliwala, "Topic-Sensitive PageRank", WWW 2002. The walk
is cut off after some steps, which is what keeps it near the query.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows, every

PPR_GRID = every(steps=(3, 2, 5), damping=(0.85, 0.5), strengths=(True, False))


def fit_ppr(task: FittingTask, *, steps: int, damping: float, strengths: bool) -> ScoreRows:
    """Score by a walk over the relation's training pairs.

    Args:
        task: on what.
        steps: after so many the walk is cut off.
        damping: probability of going on rather than starting over.
        strengths: whether the walk prefers strong pairs.
    """
    return PersonalisedPageRank(task.adjacency(strengths=strengths), steps, damping).rows


class PersonalisedPageRank:
    """score(i, .) = sum over t of damping^t times row i of P^t, t = 1 .. steps, P the row-normalised adjacency.

    The factor 1 - damping and the summand of t = 0 are left out: they change no order.
    """

    def __init__(self, adjacency: sparse.csr_array[Any], steps: int, damping: float) -> None:
        """`adjacency`: symmetric (items, items) matrix of training pairs."""
        degree = np.asarray(adjacency.sum(axis=1)).ravel()
        share = np.divide(damping, degree, out=np.zeros_like(degree), where=degree > 0)
        step = sparse.csr_array(sparse.diags_array(share) @ adjacency)
        self._step = step
        # scipy multiplies a sparse matrix from the left; the walk's step stands on the right.
        self._turned = sparse.csr_array(step.T)
        self._steps = steps

    def rows(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of shape (queries, items)."""
        here = self._step[queries].toarray().astype(np.float32, copy=False).T
        total = here.copy()
        for _ in range(self._steps - 1):
            here = self._turned @ here
            total += here
        return np.ascontiguousarray(total.T)
