"""Hit, NDCG, Recall and MRR at 10 over the whole catalogue, and the uncertainty of their means.

Ties are never broken in the model's favour: a positive ranks behind every wrong item of the same score.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

CUTOFF = 10
FIGURES = ("hit@10", "ndcg@10", "recall@10", "mrr@10")
NDCG = FIGURES.index("ndcg@10")

_BLOCK_DEPTH = 64
_DISCOUNT = 1 / np.log2(np.arange(CUTOFF) + 2)
_IDEAL = np.cumsum(_DISCOUNT)
_RESAMPLED_CELLS = 4_000_000


def judge(
    scores: NDArray[np.float32], positives: sparse.csr_array[Any], masked: sparse.csr_array[Any]
) -> NDArray[np.float64]:
    """Figures of each query.

    NDCG has binary gain and the ideal ranking of min(10, positives) hits (Järvelin & Kekäläinen, TOIS 2002).
    Recall is the share of a query's positives found, MRR the reciprocal rank of the first one (0 beyond rank
    10).

    Args:
        scores: shape (queries, items), higher is better, no NaN. Overwritten.
        positives: boolean (queries, items), at least one in every row.
        masked: boolean (queries, items): items that take no part; none of them positive.

    Returns:
        Shape (queries, 4), columns as in FIGURES.
    """
    # A score of -inf is legal, but only a masked item may lie below every other.
    np.maximum(scores, np.finfo(np.float32).min, out=scores)
    scores[_rows(masked), masked.indices] = -np.inf
    row, found = _rows(positives), positives.indices
    score = scores[row, found]
    scores[row, found] = -np.inf
    wrong = top_values(scores, CUTOFF)
    best_first = np.lexsort((-score, row))
    ahead = np.count_nonzero(wrong[row] >= score[best_first, None], axis=1)
    place_among_positives = np.arange(len(row)) - positives.indptr[row]
    return _figures(row, 1 + ahead + place_among_positives, np.diff(positives.indptr))


def judge_sampled(positive: NDArray[np.float32], negatives: NDArray[np.float32]) -> NDArray[np.float64]:
    """Figures of one positive among sampled negatives.

    Args:
        positive: scores of shape (pairs,).
        negatives: scores of shape (pairs, negatives); NaN marks a place that is not filled.

    Returns:
        Shape (pairs, 4), columns as in FIGURES.
    """
    ranks = 1 + np.count_nonzero(negatives >= positive[:, None], axis=1)
    pairs = len(positive)
    return _figures(np.arange(pairs), ranks, np.ones(pairs, np.int64))


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


def calibration_error(probabilities: NDArray[Any], labels: NDArray[Any], bins: int = 10) -> float:
    """Expected calibration error of the likeliest class (Guo et al., ICML 2017), in bins of equal width.

    Args:
        probabilities: shape (examples, classes), at least one example.
        labels: the number of the right class, shape (examples,).
        bins: how many.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[bin_of == number].mean() - right[bin_of == number].mean()) * (bin_of == number).mean()
        for number in range(bins)
        if np.any(bin_of == number)
    ]
    return float(sum(gaps))


def bootstrap_interval(
    values: NDArray[np.float64], generator: np.random.Generator, resamples: int = 1_000, level: float = 0.95
) -> tuple[float, float] | None:
    """Percentile interval of the mean over queries (Efron, Ann. Statist. 7, 1979); None without any value.

    For a paired comparison pass the differences per query.
    """
    if not len(values):
        return None
    return _middle(_resampled_means(values[:, None], generator, resamples)[:, 0], level)


def bootstrap_interval_over_seeds(
    values: NDArray[np.float64], generator: np.random.Generator, resamples: int = 1_000, level: float = 0.95
) -> tuple[float, float] | None:
    """The same for values of shape (seeds, queries): queries are resampled, and seeds too.

    A training takes one turn or another, and shifts all queries together: their spread alone does not show it. With
    one seed, nothing does. With few, the interval is still somewhat too narrow.
    """
    seeds, queries = values.shape
    if not queries:
        return None
    means = _resampled_means(values.T, generator, resamples)
    drawn = generator.integers(0, seeds, size=(resamples, seeds))
    return _middle(np.take_along_axis(means, drawn, axis=1).mean(axis=1), level)


def _resampled_means(
    values: NDArray[np.float64], generator: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """Column means of (queries, columns) values over resampled queries, shape (resamples, columns)."""
    queries, columns = values.shape
    means = np.empty((resamples, columns))
    per_block = max(1, _RESAMPLED_CELLS // (queries * columns))
    for start in range(0, resamples, per_block):
        block = means[start : start + per_block]
        block[:] = values[generator.integers(0, queries, size=(len(block), queries))].mean(axis=1)
    return means


def _middle(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _rows(matrix: sparse.csr_array[Any]) -> NDArray[np.int64]:
    """Row of each stored entry, in storage order."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _figures(query: NDArray[np.int64], ranks: NDArray[np.int64], positives: NDArray[np.int64]) -> NDArray[np.float64]:
    """From the rank (1 = best) of every positive; `query` is its row, `positives` their number per row."""
    rows = len(positives)
    hit = ranks <= CUTOFF
    query, ranks = query[hit], ranks[hit]
    found = np.bincount(query, minlength=rows)
    gain = np.bincount(query, weights=_DISCOUNT[ranks - 1], minlength=rows)
    reciprocal = np.zeros(rows)
    np.maximum.at(reciprocal, query, 1 / ranks)
    return np.column_stack([found > 0, gain / _IDEAL[np.minimum(positives, CUTOFF) - 1], found / positives, reciprocal])
