from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.pairs import Pairs
from mmsc_cli.relations import Relation
from mmsc_cli.train.linear_branch import choose_weight, linear_rows
from mmsc_cli.train.validation import Validation

ITEMS = 30


def random_adjacency() -> sparse.csr_array:
    random = np.random.default_rng(0)
    upper = np.triu(random.random((ITEMS, ITEMS)) < 0.2, 1) * random.random((ITEMS, ITEMS))
    upper[:, -1] = 0  # the last item has no pair
    return sparse.csr_array((upper + upper.T).astype(np.float32))


@pytest.mark.parametrize("largest_ease", [0, ITEMS])
def test_every_item_gets_a_sparse_row_cold_ones_from_their_look_alikes(largest_ease: int) -> None:
    similar = sparse.csr_array((np.ones(ITEMS, np.float32), (np.arange(ITEMS), np.zeros(ITEMS, int))), (ITEMS, ITEMS))
    adjacency = random_adjacency()
    rows = linear_rows(adjacency, similar, largest_ease=largest_ease, keep=8)
    assert rows.shape == (ITEMS, ITEMS)
    assert np.diff(rows.indptr).max() <= 8
    partners_of_look_alike = set(adjacency[[0]].indices.tolist()) | {0}
    assert set(rows[[ITEMS - 1]].indices.tolist()) <= partners_of_look_alike
    assert (rows.data > 0).all()


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
