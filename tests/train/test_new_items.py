from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import Relation
from mmsc_cli.train.new_items import choose_weight
from mmsc_cli.train.validation import Validation

ITEMS = 30


class Table:
    """Scores that are written down."""

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self._scores = scores

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._scores[queries]


def validation(positives: list[tuple[int, int]]) -> Validation:
    a, b = (np.array(end, np.int32) for end in zip(*positives, strict=True))
    ones, zeros = np.ones(len(a), np.float32), np.zeros(len(a), np.float32)
    pairs = Pairs(a, b, ones, ones, zeros, zeros, np.full(len(a), "valid"))
    splits = np.full(ITEMS, "warm")
    return Validation(pairs, splits, "substitute", "warm", np.random.default_rng(0))


def test_the_branch_gets_weight_where_it_is_right_and_none_where_it_is_wrong() -> None:
    positives = [(row, row + 1) for row in range(0, ITEMS, 2)]
    found = validation(positives)
    right = np.zeros((ITEMS, ITEMS), np.float32)
    for a, b in positives:
        right[a, b] = right[b, a] = 1
    noise = np.random.default_rng(1).random((ITEMS, ITEMS)).astype(np.float32)

    assert choose_weight(found, Table(noise), sparse.csr_array(right)) > 0
    assert choose_weight(found, Table(right), sparse.csr_array(noise)) == 0
