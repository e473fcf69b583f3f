"""An item to try: one that is well supported by behaviour, so that its answers say what to expect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.index.index_file import Index
from mmsc_cli.infer.answers import Answer
from mmsc_cli.infer.probabilities import pair_probabilities
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.relations import CLASSES, RELATIONS, Relation

# Well supported items whose answers are looked at.
_LOOKED_AT = 200


def choose_example(recommender: Recommender) -> tuple[str, list[Answer]]:
    """An item and its best answer in each relation; the same for the same index.

    Of the items with most behaviour in both relations, whose best answers shoppers have shown themselves in the
    relation they answer, that one is taken whose answers belong to it most clearly, a substitute of its own category
    and a complement of another one if possible.
    """
    index = recommender.index
    best = np.argsort(-_support(index), kind="stable")[:_LOOKED_AT]
    ids = [index.ids[row] for row in best.tolist()]
    found = [outcome for outcome in recommender.answer(ids, "both", 1) if isinstance(outcome, list)]
    shown = [
        answers
        for answers in found
        if len(answers) == len(RELATIONS) and all(_is_known(index, answer) for answer in answers)
    ]
    if not shown:
        return ids[0], found[0]
    shown = [answers for answers in shown if _is_typical(index, answers)] or shown
    answers = shown[int(np.argmax(_clarity(index, shown)))]
    return answers[0].query, answers


def _is_typical(index: Index, answers: Sequence[Answer]) -> bool:
    """Whether the substitute is of the item's category and the complement of another one, as far as these are known."""
    category = index.optional("category")
    if category is None:
        return False
    of = {answer.relation: category[index.row(answer.item)] for answer in answers}
    own = category[index.row(answers[0].query)]
    return bool(own >= 0 and of["substitute"] == own and of["complement"] != own)


def _clarity(index: Index, shown: Sequence[Sequence[Answer]]) -> NDArray[np.float64]:
    """How much likelier than in another class each item's answers are in their own relation; the less clear one.

    All equal without calibration.
    """
    if not index.about.get("calibration"):
        return np.zeros(len(shown))
    rows = np.array([[(index.row(a.query), index.row(a.item)) for a in answers] for answers in shown])
    margins = []
    for position, relation in enumerate(RELATIONS):
        p = pair_probabilities(index, rows[:, position, 0], rows[:, position, 1])
        own = CLASSES.index(relation)
        margins.append(p[:, own] - np.delete(p, own, axis=1).max(axis=1))
    clarity: NDArray[np.float64] = np.min(margins, axis=0)
    return clarity


def _support(index: Index) -> NDArray[np.float32]:
    """How well each item is supported, (n_items,): its weaker relation, by its sessions, or strengths, with partners.

    A relation without any pair does not count.
    """
    support = np.full(len(index), np.inf, np.float32)
    for relation in RELATIONS:
        weight = index.optional(f"known.together.{relation}")
        if weight is None:
            weight = index.optional(f"known.strength.{relation}")
        if weight is not None and weight.any():
            support = np.minimum(support, index.known.row_sums(weight) / weight.mean())
    return support


def _is_known(index: Index, answer: Answer) -> bool:
    relation: Relation = answer.relation
    entry = index.known.entry(index.row(answer.query), index.row(answer.item))
    strength = index.optional(f"known.strength.{relation}")
    return entry is not None and strength is not None and bool(strength[entry] > 0)
