"""How far to follow the student: what shoppers did and what is true are two questions, with one knob between them."""

from __future__ import annotations

from mmsc_cli.index.index_file import Index
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.validation import Validations

WEIGHTS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.13, 0.09, 0.06, 0.03)
# Fraction of NDCG@10 on validation pairs that following may cost. Below the 2 % that it may cost on pairs that were not
# looked at, as the two differ (docs/experiments.md).
MOST_COST = 0.015


def choose_following(index: Index, questions: Validations, asked: float | None) -> dict[Relation, float]:
    """The weight of the student in each relation, 0 to 1: as asked for, else as much as behaviour can pay for.

    That is the greatest weight with which warm validation pairs are found nearly as well as without. Behaviour is no
    measure of the truth, but it is one of what following costs.

    Args:
        index: with the student's probabilities, that it does not follow yet.
        questions: the validation queries.
        asked: the weight that the settings want; None: choose.
    """
    if asked is not None:
        return dict.fromkeys(RELATIONS, asked)
    return {relation: _affordable(index, questions, relation) for relation in RELATIONS}


def _affordable(index: Index, questions: Validations, relation: Relation) -> float:
    question = questions[relation, "warm"]
    without = question.ndcg(index)
    if without is None:
        return 0.0
    for weight in WEIGHTS:
        found = question.ndcg(index.with_follow_labels({relation: weight}))
        if found is not None and found >= (1 - MOST_COST) * without:
            return weight
    return 0.0
