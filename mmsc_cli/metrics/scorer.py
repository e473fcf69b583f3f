"""Anything that ranks: a baseline, the trained model's index, an ablated model."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.tables.relations import Relation


class Scorer(Protocol):
    """Scores the whole catalogue for some query items."""

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return scores of shape (queries, items); higher is better. `queries` are item rows."""
