"""An item to try: one that is well supported by behaviour, so that its answers say what to expect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.index.index_file import Index
from mmsc_cli.infer.answers import Answer
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.relations import RELATIONS, Relation

# Well supported items whose answers are looked at.
_LOOKED_AT = 200


def choose_example(recommender: Recommender) -> tuple[str, list[Answer]]:
    """An item and its best answer in each relation; the same for the same index.

    Of the items with most behaviour in both relations, the first is taken whose best answers shoppers have shown
    themselves, in the relation they answer.
    """
    index = recommender.index
    best = np.argsort(-_support(index), kind="stable")[:_LOOKED_AT]
    ids = [index.ids[row] for row in best.tolist()]
    found = [outcome for outcome in recommender.answer(ids, "both", 1) if isinstance(outcome, list)]
    for item, answers in zip(ids, found, strict=True):
        if len(answers) == len(RELATIONS) and all(_is_known(index, answer) for answer in answers):
            return item, answers
    return ids[0], found[0]


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
            total = np.concatenate([[0], np.cumsum(weight, dtype=np.float64)])
            support = np.minimum(support, np.diff(total[index.known.indptr]) / weight.mean())
    return support


def _is_known(index: Index, answer: Answer) -> bool:
    relation: Relation = answer.relation
    entry = index.known.entry(index.row(answer.query), index.row(answer.item))
    strength = index.optional(f"known.strength.{relation}")
    return entry is not None and strength is not None and bool(strength[entry] > 0)
