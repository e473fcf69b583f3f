"""Calibrated probabilities of pairs: substitute, complement, neither."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index import Index
from mmsc_cli.relations import RELATIONS

COLUMNS = ("a", "b", "p_substitute", "p_complement", "p_neither")


@dataclass(frozen=True)
class PairOpinion:
    """One line of output; fields in the order of COLUMNS."""

    a: str
    b: str
    p_substitute: float
    p_complement: float
    p_neither: float


def judge_pair(index: Index, a: str, b: str) -> PairOpinion:
    """Probabilities of a pair of known items, whichever comes first.

    Raises:
        UnknownItemError: one of them is not in the catalogue.
        WorkspaceError: the model was trained on too few validation pairs to be calibrated.
    """
    ends = np.array([index.row(a)]), np.array([index.row(b)])
    calibration = index.about.get("calibration")
    if not calibration:
        raise WorkspaceError(
            "this index has no calibrated probabilities: there were too few validation pairs to fit them",
            hint="use --relation with --item for scores, or train on more pairs",
        )
    scores = np.array([index.pair_scores(relation, *ends)[0] for relation in RELATIONS])
    logits = np.array(calibration["coefficients"]) @ (scores / np.array(calibration["scale"]))
    logits += np.array(calibration["intercepts"])
    shares = np.exp(logits - logits.max())
    return PairOpinion(a, b, *(shares / shares.sum()).tolist())
