from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_RESAMPLED_CELLS = 4_000_000


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
