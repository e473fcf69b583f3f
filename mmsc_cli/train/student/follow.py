"""How far to follow the student: what shoppers did and what is true are two questions, with one knob between them."""

from __future__ import annotations

from mmsc_cli.index.index_file import Index
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.validation import KINDS, Validations

STEPS = 6  # of the search, each of which halves the span that the weight is known to be in
# Fraction of NDCG@10 on validation pairs that following may cost. Below the 2 % that it may cost on pairs that were not
# looked at, as the two differ (docs/experiments.md).
MOST_COST = 0.01


def choose_following(index: Index, questions: Validations, asked: float | None) -> dict[Relation, float]:
    """The weight of the student in each relation, 0 to 1: as asked for, else as much as behaviour can pay for.

    That is the greatest weight with which validation pairs of warm items, and those of cold ones, are found nearly as
    well as without. Behaviour is no measure of the truth, but it is one of what following costs.

    Args:
        index: with the student's probabilities, that it does not follow yet.
        questions: the validation queries.
        asked: the weight that the settings want; None: choose.
    """
    if asked is not None:
        return dict.fromkeys(RELATIONS, asked)
    return {relation: _affordable(index, questions, relation) for relation in RELATIONS}


def _affordable(index: Index, questions: Validations, relation: Relation) -> float:
    asked = [questions[relation, kind] for kind in KINDS]
    without = [question.ndcg(index) for question in asked]
    if without[0] is None:  # no warm item says what following costs
        return 0.0

    def affords(weight: float) -> bool:
        followed = index.with_follow_labels({relation: weight})
        return all(
            before is None or (question.ndcg(followed) or 0.0) >= (1 - MOST_COST) * before
            for question, before in zip(asked, without, strict=True)
        )

    if affords(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if affords(middle) else (low, middle)
    return low
