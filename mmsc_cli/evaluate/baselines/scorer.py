"""A fitted baseline, as everything that ranks sees it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.evaluate.context import FittingContext
from mmsc_cli.relations import Relation

ScoreRows = Callable[[NDArray[np.int64]], NDArray[np.float32]]
FitRelation = Callable[[FittingContext, Relation], ScoreRows]


class BaselineScorer:
    """Fits one relation at a time, when it is first asked for, and forgets the one before.

    A dense item-to-item model of 30,000 items takes 3.6 GB per relation: two need not lie in memory at once.
    """

    def __init__(self, context: FittingContext, fit: FitRelation) -> None:
        self._context = context
        self._fit = fit
        self._fitted: tuple[Relation, ScoreRows] | None = None
        self.fit_seconds = 0.0

    def fit(self, relation: Relation) -> None:
        """Fit a relation now, unless it is the one that is fitted; `fit_seconds` adds up the time it took."""
        self._rows(relation)

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return scores of shape (queries, items)."""
        return self._rows(relation)(queries)

    def _rows(self, relation: Relation) -> ScoreRows:
        if self._fitted is None or self._fitted[0] != relation:
            self._fitted = None
            started = time.perf_counter()
            self._fitted = relation, self._fit(self._context, relation)
            self.fit_seconds += time.perf_counter() - started
        return self._fitted[1]
