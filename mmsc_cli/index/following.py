"""How far answers follow the student of labels: what shoppers will do, mixed with what seems true.

A score stands for a share of what a query's shoppers will take up. Following mixes these shares with those of a list
that counts what seems true as well. To add logarithms of probabilities instead costs twice as much behaviour for the
same gain in truth (docs/experiments.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A candidate's score is log(1 + e^RANGE share), its share being that of the softmax among unknown candidates. So it is
# above 0, and candidates that share next to nothing are all near 0.
RANGE = 12.0
# The student rules nothing out: a probability counts as at least this.
LEAST_TRUTH = 0.005
_ROWS_AT_A_TIME = 16_384


def shares_of(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """The shares that scores stand for, any shape."""
    shares: NDArray[np.float64] = np.expm1(np.maximum(scores, 0).astype(np.float64)) / np.exp(RANGE)
    return shares


def scores_of(shares: NDArray[np.float64]) -> NDArray[np.float32]:
    """The scores that stand for shares, any shape."""
    scores: NDArray[np.float32] = np.log1p(np.exp(RANGE) * shares).astype(np.float32)
    return scores


def followed_scores(
    behaviour: NDArray[np.float32], truth: NDArray[np.float32], indptr: NDArray[Any], weight: float
) -> NDArray[np.float32]:
    """Scores of candidates where the student is followed, (entries,).

    Shares become (1 - weight) share + weight p sqrt(share) / (sum of the same over the query's candidates). Followed
    fully, candidates stand in the order of share times p squared.

    Args:
        behaviour: scores without the student, (entries,), those of a query in a row.
        truth: how probable the student thinks each, (entries,).
        indptr: where the entries of each query start, (queries + 1,).
        weight: 0 to 1.
    """
    if weight == 0:
        return behaviour
    scores = np.empty(len(behaviour), np.float32)
    for first in range(0, len(indptr) - 1, _ROWS_AT_A_TIME):
        starts = np.asarray(indptr[first : first + _ROWS_AT_A_TIME + 1], np.int64)
        block = slice(int(starts[0]), int(starts[-1]))
        query = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        share = shares_of(behaviour[block])
        probable = np.clip(truth[block], LEAST_TRUTH, 1)
        # Known partners may have a share above one; they are not shown, and leave the others their part.
        total = np.bincount(query, probable * np.sqrt(np.minimum(share, 1)), minlength=len(starts) - 1)[query]
        liked = np.divide(probable * np.sqrt(share), total, out=np.zeros_like(share), where=total > 0)
        scores[block] = scores_of((1 - weight) * share + weight * liked)
    return scores
