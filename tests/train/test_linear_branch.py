from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from mmsc_cli.tables.relations import Relation
from mmsc_cli.train.linear_branch import linear_rows

ITEMS = 30
COLD = ITEMS - 1


def random_adjacency(seed: int) -> sparse.csr_array[Any]:
    random = np.random.default_rng(seed)
    upper = np.triu(random.random((ITEMS, ITEMS)) < 0.2, 1) * random.random((ITEMS, ITEMS))
    upper[:, COLD] = 0
    return sparse.csr_array((upper + upper.T).astype(np.float32))


ADJACENCY: dict[Relation, sparse.csr_array[Any]] = {
    "substitute": random_adjacency(0),
    "complement": random_adjacency(1),
}
# The look-alike of every item is the first one.
SIMILAR = sparse.csr_array(
    (np.ones(ITEMS - 1, np.float32), (np.arange(1, ITEMS), np.zeros(ITEMS - 1, int))), (ITEMS, ITEMS)
)


@pytest.mark.parametrize("largest_ease", [0, ITEMS])
def test_a_cold_item_is_answered_for_by_its_look_alike_and_is_no_answer_itself(largest_ease: int) -> None:
    rows = linear_rows(ADJACENCY, "substitute", SIMILAR, largest_ease=largest_ease, keep=8)
    assert rows.shape == (ITEMS, ITEMS)
    assert np.diff(rows.indptr).max() <= 8
    assert (rows.data > 0).all()
    assert COLD not in rows.indices
    assert rows[[COLD]].nnz
    nothing = sparse.csr_array(np.zeros((ITEMS, ITEMS), np.float32))
    assert not linear_rows(ADJACENCY, "substitute", nothing, largest_ease=largest_ease, keep=8)[[COLD]].nnz


def test_pairs_of_the_other_relation_help_an_item_that_has_none_in_this_one() -> None:
    lonely = ADJACENCY["complement"].tolil()
    lonely[5, :] = 0
    lonely[:, 5] = 0
    adjacency: dict[Relation, sparse.csr_array[Any]] = {**ADJACENCY, "complement": sparse.csr_array(lonely)}
    nothing = sparse.csr_array(np.zeros((ITEMS, ITEMS), np.float32))
    row = linear_rows(adjacency, "complement", nothing, largest_ease=ITEMS, keep=8)[[5]]
    assert row.nnz


def test_the_unit_of_strengths_does_not_matter() -> None:
    tenfold = {relation: 10 * matrix for relation, matrix in ADJACENCY.items()}
    rows = [linear_rows(each, "complement", SIMILAR, largest_ease=ITEMS, keep=8) for each in (ADJACENCY, tenfold)]
    np.testing.assert_allclose(rows[0].toarray(), rows[1].toarray(), rtol=1e-3, atol=1e-4)


def test_without_behaviour_there_is_nothing_to_say() -> None:
    nothing = sparse.csr_array(np.zeros((ITEMS, ITEMS), np.float32))
    assert not linear_rows({"substitute": nothing, "complement": nothing}, "complement", SIMILAR, ITEMS, keep=8).nnz
