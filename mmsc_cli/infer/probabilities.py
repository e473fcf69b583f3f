"""Calibrated probabilities of pairs: substitute, complement, neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.soundness import damaged_index
from mmsc_cli.tables.relations import RELATIONS

if TYPE_CHECKING:
    from mmsc_cli.infer.explain import Explanation

COLUMNS = ("a", "b", "p_substitute", "p_complement", "p_neither")


class PairOpinion(NamedTuple):
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
        WorkspaceError: the model was trained on too few validation pairs to be calibrated, or the calibration gives no
            probabilities.
    """
    calibration = index.about.get("calibration")
    if not calibration:
        raise WorkspaceError(
            "this index has no calibrated probabilities: there were too few validation pairs to fit them",
            hint="use --item for scores, or train on more pairs",
        )
    scale, coefficients, intercepts = (
        np.array(calibration[name], np.float64) for name in ("scale", "coefficients", "intercepts")
    )
    with np.errstate(all="ignore"):  # what comes of it is looked at
        logits = (scores / scale) @ coefficients.T + intercepts
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    if not np.isfinite(probabilities).all():
        raise damaged_index("its calibration gives probabilities that are no numbers")
    return probabilities
