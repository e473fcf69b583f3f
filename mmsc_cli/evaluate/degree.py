"""Quality against what was known of a query: its number of training pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.evaluate.protocol import SliceName
from mmsc_cli.evaluate.rank import Ranking, summarise

DEGREE_SLICE: SliceName = "all"
# Lowest degree of each bin; the last bin has no end.
DEGREE_BINS = (0, 1, 3, 6, 11, 21, 51)


def by_degree(ranking: Ranking, degree: NDArray[np.int64], seed: int, resamples: int) -> list[dict[str, Any]]:
    """Figures of the queries of DEGREE_SLICE by training pairs in the relation.

    Args:
        ranking: of one relation.
        degree: training pairs of each item in that relation, shape (items,).
        seed: of the resamples.
        resamples: behind an interval.

    Returns:
        Per bin `low` and `high` (both included; `high` is None in the last), and the values of a slice.
    """
    known = degree[ranking.protocol.slices[DEGREE_SLICE].queries]
    figures = ranking.of_slice(DEGREE_SLICE)
    bin_of = np.searchsorted(DEGREE_BINS, known, side="right") - 1
    bins: list[dict[str, Any]] = []
    for number, low in enumerate(DEGREE_BINS):
        high = DEGREE_BINS[number + 1] - 1 if number + 1 < len(DEGREE_BINS) else None
        purpose = f"{ranking.protocol.relation}/degree/{low}"
        bins.append({"low": low, "high": high, **summarise(figures[bin_of == number], purpose, seed, resamples)})
    return bins
