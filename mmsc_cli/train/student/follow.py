"""How far to follow the student: what shoppers did and what is true are two questions, with one knob between them.

People's judgements say it best. Without them the student is followed as far as behaviour can pay for, and no further
than it is skilled: behaviour is no measure of the truth, but it is one of what following costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_keys
from mmsc_cli.arrays.sparse_rows import ranges
from mmsc_cli.arrays.top import rank_in_group
from mmsc_cli.index.following import followed_scores, shares_of
from mmsc_cli.index.index_file import Index
from mmsc_cli.metrics.retrieval import CUTOFF, ideal_gains
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.student.judged import Judged, best_for_people
from mmsc_cli.train.validation import Kind, Validation, Validations

STEPS = 6  # of the search, each of which halves the span that the weight is known to be in
# Fraction of NDCG@10 on validation pairs that following may cost. For warm items below the 2 % that it may cost on
# pairs that were not looked at, as the two differ (docs/experiments.md); cold items are few, and theirs differ more.
MOST_COST: dict[Kind, float] = {"warm": 0.015, "cold": 0.02}
WEIGHTS = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Following:
    """The weight of the student in each relation, 0 to 1, and what chose each."""

    weights: dict[Relation, float]
    chosen_by: dict[Relation, str]


def choose_following(
    index: Index, questions: Validations, asked: float | None, skill: float = 1.0, judged: Judged | None = None
) -> Following:
    """Choose how far to follow the student.

    Args:
        index: with the student's probabilities, that it does not follow yet.
        questions: the validation queries.
        asked: the weight that the settings want; None: choose.
        skill: the greatest weight that behaviour alone may choose, 0 to 1.
        judged: pairs that people judged; None where there are none.
    """
    if asked is not None:
        return Following(dict.fromkeys(RELATIONS, asked), dict.fromkeys(RELATIONS, "settings"))
    weights, chosen_by = {}, {}
    for relation in RELATIONS:
        by_people = None if judged is None else _by_people(index, relation, judged)
        chosen_by[relation] = "behaviour" if by_people is None else "people"
        weights[relation] = min(skill, _affordable(index, questions, relation)) if by_people is None else by_people
    return Following(weights, chosen_by)


@dataclass(frozen=True)
class _Lists:
    """The candidates of some queries, those of a query in a row.

    `rows` (queries,) item rows; `indptr` (queries + 1,); `items`, `behaviour`, `truth` (entries,) each candidate's row,
    its score without the student, and how probable the student thinks it.
    """

    n_items: int
    rows: NDArray[np.int64]
    indptr: NDArray[np.int64]
    items: NDArray[np.int64]
    behaviour: NDArray[np.float32]
    truth: NDArray[np.float32]

    @classmethod
    def of(cls, index: Index, relation: Relation, rows: NDArray[np.int64]) -> _Lists:
        linear = index.vectors(relation).linear
        lengths = linear.indptr[rows + 1] - linear.indptr[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        entries = ranges(linear.indptr[rows], lengths)
        items = np.asarray(linear.indices[entries], np.int64)
        return cls(len(index), rows, indptr, items, index.behaviour(relation)[entries], index.truth(relation)[entries])

    @cached_property
    def query(self) -> NDArray[np.int64]:
        """The position in `rows` of each entry's query."""
        return np.repeat(np.arange(len(self.rows)), np.diff(self.indptr))

    def followed(self, weight: float) -> NDArray[np.float32]:
        """Scores where the student is followed, (entries,)."""
        return followed_scores(self.behaviour, self.truth, self.indptr, weight)

    def find(self, rows: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.int64]:
        """The entry of each pair of a query's row and an item, (pairs,); -1 where there is none."""
        return find_keys(self.rows[self.query] * self.n_items + self.items, rows * self.n_items + items)


class _Costs:
    """What following costs the queries of one relation and one kind, as a fraction of their NDCG@10.

    The mean of two estimates: what validation pairs say, who are few, and what the shares of the list without the
    student say themselves, who believe too much of what they say.
    """

    def __init__(self, index: Index, question: Validation) -> None:
        lists = _Lists.of(index, question.relation, question.queries)
        right, masked = question.marks(lists.rows[lists.query], lists.items)
        self._lists, self._shown = lists, ~masked
        self._right = right.astype(np.float64)
        self._share = np.where(masked, 0, shares_of(lists.behaviour))
        self._ideal = ideal_gains(question.n_right)
        self._without = self._gains(0.0)

    def of(self, weight: float) -> float:
        """The cost of a weight."""
        fractions = [
            1 - now / before for now, before in zip(self._gains(weight), self._without, strict=True) if before > 0
        ]
        return float(np.mean(fractions)) if fractions else 0.0

    def _gains(self, weight: float) -> tuple[float, float]:
        """NDCG@10 by validation pairs, and the expected DCG@10 by shares."""
        shown = self._shown
        query, scores = self._lists.query[shown], self._lists.followed(weight)[shown]
        order = np.lexsort((-scores, query))
        rank = rank_in_group(query[order])
        top = rank < CUTOFF
        best, discount = order[top], 1 / np.log2(2 + rank[top])
        measured, expected = (
            np.bincount(query[best], gain[shown][best] * discount, minlength=len(self._ideal))
            for gain in (self._right, self._share)
        )
        return float((measured / self._ideal).mean()), float(expected.mean())


def _affordable(index: Index, questions: Validations, relation: Relation) -> float:
    """The greatest weight that finds validation pairs of warm items, and those of cold ones, nearly as well as none."""
    if not len(questions[relation, "warm"].queries):  # no warm item says what following costs
        return 0.0
    costs = {
        kind: _Costs(index, questions[relation, kind]) for kind in MOST_COST if len(questions[relation, kind].queries)
    }

    def affords(weight: float) -> bool:
        return all(cost.of(weight) <= MOST_COST[kind] for kind, cost in costs.items())

    if affords(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if affords(middle) else (low, middle)
    return low


def _by_people(index: Index, relation: Relation, judged: Judged) -> float | None:
    """The weight that tells best what people judged to be in the relation; None where they judged too few pairs."""
    ends = np.concatenate([judged.a, judged.b]), np.concatenate([judged.b, judged.a])
    lists = _Lists.of(index, relation, np.unique(ends[0]))
    entries = lists.find(*ends)
    found = entries >= 0
    if judged.opinions is not None:
        truth = lists.truth.copy()
        truth[entries[found]] = np.tile(judged.opinions[:, RELATIONS.index(relation)], 2)[found]
        lists = replace(lists, truth=truth)
    # Both ends of a pair count; of an item that does not list the other, only what the other says.
    pair = np.tile(np.arange(len(judged)), 2)[found]
    times = np.bincount(pair, minlength=len(judged))
    scores = np.stack(
        [
            np.bincount(pair, lists.followed(weight)[entries[found]], minlength=len(judged)) / np.maximum(times, 1)
            for weight in WEIGHTS
        ]
    )
    best = best_for_people(scores[:, times > 0], judged.classes[times > 0] == RELATIONS.index(relation))
    return None if best is None else float(WEIGHTS[best])
