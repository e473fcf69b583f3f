"""How far a mean depends on the queries that were drawn: bootstrap intervals, and calibration error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
_RESAMPLED_CELLS = 4_000_000
Interval = tuple[float, float]


def bootstrap_interval(
    values: NDArray[np.float64], generator: np.random.Generator, resamples: int = 1_000
) -> Interval | None:
    """Percentile interval of the mean over queries (Efron, Ann. Statist. 7, 1979); None without any value.

    For a paired comparison pass the differences per query.
    """
    return _middle(resampled_means(values[:, None], generator, resamples)[:, 0]) if len(values) else None


def bootstrap_interval_over_seeds(
    values: NDArray[np.float64], generator: np.random.Generator, resamples: int = 1_000
) -> Interval | None:
    """The same for values of shape (seeds, queries): queries are resampled, and seeds too.

    The chance in a training shifts all queries together, which their spread alone does not show. With one seed nothing
    shows it; with few, the interval is still somewhat too narrow.
    """
    seeds, queries = values.shape
    if not queries:
        return None
    means = resampled_means(values.T, generator, resamples)
    drawn = generator.integers(0, seeds, size=(resamples, seeds))
    return _middle(np.take_along_axis(means, drawn, axis=1).mean(axis=1))


def paired_gain(
    values: NDArray[np.float64], rival: NDArray[np.float64], generator: np.random.Generator, resamples: int = 1_000
) -> dict[str, Any]:
    """How far one mean is ahead of another over the same queries.

    Args:
        values: a figure of each query, shape (queries,), at least one.
        rival: that of the other system, the same shape.
        generator: draws the queries of each resample, the same for both.
        resamples: number of resamples.

    Returns:
        `difference` of the means and `relative`, the difference over the rival's mean, each with its interval
        (`difference_ci`, `relative_ci`); relative ones are None where the rival's mean, or that of a resample, is 0.
    """
    mean, rival_mean = values.mean(), rival.mean()
    means = resampled_means(np.column_stack([values, rival]), generator, resamples)
    relative_known = bool(rival_mean > 0 and means[:, 1].min() > 0)
    return {
        "difference": float(mean - rival_mean),
        "difference_ci": list(_middle(means[:, 0] - means[:, 1])),
        "relative": float(mean / rival_mean - 1) if relative_known else None,
        "relative_ci": list(_middle(means[:, 0] / means[:, 1] - 1)) if relative_known else None,
    }


def calibration_error(probabilities: NDArray[Any], labels: NDArray[Any], bins: int = 10) -> float:
    """Expected calibration error of the likeliest class (Guo et al., ICML 2017), in bins of equal width.

    Args:
        probabilities: shape (examples, classes), at least one example.
        labels: the number of the right class, shape (examples,).
        bins: number of bins.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    # A bin's share times the gap of its means is the gap of its sums over all examples.
    gaps = np.bincount(bin_of, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def calibration_interval(
    probabilities: NDArray[Any], labels: NDArray[Any], generator: np.random.Generator, resamples: int = 1_000
) -> Interval:
    """Percentile interval of the calibration error over resampled examples.

    The error of few examples is too high on average, and so is this interval: it says how far the figure depends on
    the examples, not that a perfect calibration is ruled out.
    """
    draws = (generator.integers(0, len(labels), len(labels)) for _ in range(resamples))
    return _middle(np.array([calibration_error(probabilities[drawn], labels[drawn]) for drawn in draws]))


def resampled_means(values: NDArray[np.float64], generator: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """Column means of (queries, columns) values over resampled queries, shape (resamples, columns)."""
    queries, columns = values.shape
    means = np.empty((resamples, columns))
    per_block = max(1, _RESAMPLED_CELLS // (queries * columns))
    for start in range(0, resamples, per_block):
        block = means[start : start + per_block]
        block[:] = values[generator.integers(0, queries, size=(len(block), queries))].mean(axis=1)
    return means


def _middle(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
