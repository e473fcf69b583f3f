"""How far answers follow the student of labels: what its probability adds to a candidate's score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Logarithms of a probability are added with this factor where the student is followed fully.
FULLY = 2.0
# The student rules nothing out: a probability counts as at least this.
LEAST_TRUTH = 0.005


def following_term(truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """What following fully adds to scores, from 0 up, of probabilities that a relation is true; any shape.

    From 0 up, so that candidates stay before all other items.
    """
    term: NDArray[np.float32] = FULLY * np.log(np.clip(truth, LEAST_TRUTH, 1) / np.float32(LEAST_TRUTH))
    return term
