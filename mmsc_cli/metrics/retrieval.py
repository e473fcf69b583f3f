"""Hit, NDCG, Recall and MRR at 10, over the whole catalogue or among sampled negatives.

Ties are never broken in the model's favour: a positive ranks behind every wrong item of the same score.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.top import rank_in_group, top_values

CUTOFF = 10
FIGURES = ("hit@10", "ndcg@10", "recall@10", "mrr@10")
NDCG = FIGURES.index("ndcg@10")
_DISCOUNT = 1 / np.log2(np.arange(CUTOFF) + 2)
_IDEAL = np.cumsum(_DISCOUNT)


def catalogue_figures(
    scores: NDArray[np.float32], positives: sparse.csr_array[Any], masked: sparse.csr_array[Any]
) -> NDArray[np.float64]:
    """Figures of each query over the whole catalogue.

    NDCG has binary gain and the ideal ranking of min(10, positives) hits (Järvelin & Kekäläinen, TOIS 2002).
    Recall is the fraction of a query's positives among the first 10, MRR the reciprocal rank of the
    first one (0 beyond rank 10).

    Args:
        scores: shape (queries, items), higher is better, no NaN. Overwritten.
        positives: boolean (queries, items), at least one in every row.
        masked: boolean (queries, items): items that are left out; none of them is positive.

    Returns:
        Shape (queries, 4), columns as in FIGURES.
    """
    # A score of -inf is legal, but only a masked item may lie below every other.
    np.maximum(scores, np.finfo(np.float32).min, out=scores)
    scores[_rows(masked), masked.indices] = -np.inf
    # row, column, score: one element for each positive, row by row.
    row, column = _rows(positives), positives.indices
    score = scores[row, column]
    scores[row, column] = -np.inf
    wrong = top_values(scores, CUTOFF)
    # The rank of a positive: the positives before it, best first, and the wrong items that reach its score.
    best_first = np.lexsort((-score, row))
    ahead = np.count_nonzero(wrong[row] >= score[best_first, None], axis=1)
    return _figures(row, 1 + rank_in_group(row) + ahead, np.diff(positives.indptr))


def ideal_gains(positives: NDArray[np.int64]) -> NDArray[np.float64]:
    """DCG@10 of the ideal ranking of so many positives, at least one each; any shape."""
    ideal: NDArray[np.float64] = _IDEAL[np.minimum(positives, CUTOFF) - 1]
    return ideal


def sampled_figures(positive: NDArray[np.float32], negatives: NDArray[np.float32]) -> NDArray[np.float64]:
    """Figures of one positive among sampled negatives.

    Args:
        positive: scores of shape (pairs,).
        negatives: scores of shape (pairs, negatives); NaN where there is no negative left to draw.

    Returns:
        Shape (pairs, 4), columns as in FIGURES.
    """
    ranks = 1 + np.count_nonzero(negatives >= positive[:, None], axis=1)
    pairs = len(positive)
    return _figures(np.arange(pairs), ranks, np.ones(pairs, np.int64))


def _rows(matrix: sparse.csr_array[Any]) -> NDArray[np.int64]:
    """Row of each stored entry, in storage order."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _figures(query: NDArray[np.int64], ranks: NDArray[np.int64], positives: NDArray[np.int64]) -> NDArray[np.float64]:
    """From the rank (1 = best) of every positive; `query` is its row, `positives` their number per row."""
    rows = len(positives)
    hit = ranks <= CUTOFF
    query, ranks = query[hit], ranks[hit]
    hits = np.bincount(query, minlength=rows)
    gain = np.bincount(query, weights=_DISCOUNT[ranks - 1], minlength=rows)
    reciprocal = np.zeros(rows)
    np.maximum.at(reciprocal, query, 1 / ranks)
    return np.column_stack([hits > 0, gain / ideal_gains(positives), hits / positives, reciprocal])
