"""Pairs that people judged, as a measure of lists that follow the student more or less."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Judged pairs, and pairs within and without a relation, below which people do not choose.
FEWEST = 100
FEWEST_OF_EACH = 20
RESAMPLES = 200


@dataclass(frozen=True)
class Judged:
    """Pairs of item rows and the class that most people gave each, all of shape (pairs,).

    `opinions` (pairs, 3): what the student says of them when it has not seen what people say; None where it never has.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    classes: NDArray[np.int64]
    opinions: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.a)


def best_for_people(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> int | None:
    """The first of several lists that people cannot tell from the best; None where they judged too few pairs.

    A list is as good as the chance that it scores a right pair higher than a wrong one (AUROC). One is as good as the
    best if the difference is within one standard error over resampled pairs.

    Args:
        scores: of each pair in each list, (lists, pairs).
        right: whether each pair is, (pairs,).
    """
    if len(right) < FEWEST or min(right.sum(), (~right).sum()) < FEWEST_OF_EACH:
        return None
    draw = np.random.default_rng(len(right))
    resampled = []
    for _ in range(RESAMPLES):
        chosen = draw.integers(0, len(right), len(right))
        if 0 < right[chosen].sum() < len(right):
            resampled.append(_auroc(scores[:, chosen], right[chosen]))
    figures = _auroc(scores, right)
    best = int(figures.argmax())
    worse = np.array(resampled)[:, [best]] - np.array(resampled)
    return int(np.argmax(figures[best] - figures <= worse.std(axis=0)))


def _auroc(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(lists,) from (lists, pairs) and (pairs,), by ranks (Mann & Whitney, 1947)."""
    from scipy.stats import rankdata  # noqa: PLC0415  slow to import, and only judgements need it

    n_right = int(right.sum())
    ranks = rankdata(scores, axis=1)[:, right].sum(axis=1)
    chance: NDArray[np.float64] = (ranks - n_right * (n_right + 1) / 2) / (n_right * (len(right) - n_right))
    return chance
