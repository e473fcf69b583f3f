"""Calibrated probabilities of pairs: substitute, complement, neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index.index_file import Index
from mmsc_cli.tables.relations import RELATIONS

if TYPE_CHECKING:
    from mmsc_cli.infer.explain import Explanation

COLUMNS = ("a", "b", "p_substitute", "p_complement", "p_neither")


@dataclass(frozen=True)
class PairOpinion:
    """One line of output; fields in the order of COLUMNS. `why` explains the likelier of the two relations."""

    a: str
    b: str
    p_substitute: float
    p_complement: float
    p_neither: float
    why: Explanation | None = None


def pair_probabilities(index: Index, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities of pairs, (n_pairs, 3) in the order of CLASSES; the order of the two ends does not matter.

    Raises:
        WorkspaceError: the model was trained on too few validation pairs to be calibrated.
    """
    return class_probabilities(index, np.stack([index.pair_scores(relation, a, b) for relation in RELATIONS], axis=1))


def class_probabilities(index: Index, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities (n_pairs, 3) in the order of CLASSES, from scores (n_pairs, 2) in both relations.

    Raises:
        WorkspaceError: the model was trained on too few validation pairs to be calibrated.
    """
    calibration = index.about.get("calibration")
    if not calibration:
        raise WorkspaceError(
            "this index has no calibrated probabilities: there were too few validation pairs to fit them",
            hint="use --item for scores, or train on more pairs",
        )
    logits = (scores / np.array(calibration["scale"])) @ np.array(calibration["coefficients"]).T
    logits += np.array(calibration["intercepts"])
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return probabilities
