from __future__ import annotations

from typing import Any

import numpy as np
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


NOTHING = sparse.csr_array(np.zeros((ITEMS, ITEMS), np.float32))


def rows_of(
    adjacency: dict[Relation, sparse.csr_array[Any]],
    relation: Relation,
    similar: sparse.csr_array[Any],
    outside: sparse.csr_array[Any] | None = None,
) -> sparse.csr_array[Any]:
    partners = {} if outside is None else {relation: outside}
    return linear_rows(adjacency, relation, similar, partners, keep=8).as_sparse()


def test_a_cold_item_is_answered_for_by_its_look_alike_and_is_no_answer_itself() -> None:
    rows = rows_of(ADJACENCY, "substitute", SIMILAR)
    assert rows.shape == (ITEMS, ITEMS)
    assert np.diff(rows.indptr).max() <= 8
    assert (rows.data > 0).all()
    assert COLD not in rows.indices
    assert rows[[COLD]].nnz
    assert not rows_of(ADJACENCY, "substitute", NOTHING)[[COLD]].nnz


def test_pairs_of_the_other_relation_help_an_item_that_has_none_in_this_one() -> None:
    lonely = ADJACENCY["complement"].tolil()
    lonely[5, :] = 0
    lonely[:, 5] = 0
    adjacency: dict[Relation, sparse.csr_array[Any]] = {**ADJACENCY, "complement": sparse.csr_array(lonely)}
    assert rows_of(adjacency, "complement", NOTHING)[[5]].nnz


def test_items_that_share_partners_outside_the_catalogue_are_closer() -> None:
    shared = sparse.csr_array((np.ones(2, np.float32), ([3, 7], [0, 0])), (ITEMS, 1))
    # Item 3 has one partner, item 4; so asked about item 4, item 7 comes in through what it shares with item 3.
    only = sparse.csr_array((np.ones(4, np.float32), ([3, 4, 7, 9], [4, 3, 9, 7])), (ITEMS, ITEMS))
    adjacency: dict[Relation, sparse.csr_array[Any]] = {"substitute": NOTHING, "complement": only}
    assert not rows_of(adjacency, "complement", NOTHING)[[4]].toarray()[0, 7]
    assert rows_of(adjacency, "complement", NOTHING, shared)[[4]].toarray()[0, 7] > 0


def test_the_unit_of_strengths_does_not_matter() -> None:
    tenfold = {relation: 10 * matrix for relation, matrix in ADJACENCY.items()}
    rows = [rows_of(strengths, "complement", SIMILAR) for strengths in (ADJACENCY, tenfold)]
    np.testing.assert_allclose(rows[0].toarray(), rows[1].toarray(), rtol=1e-3, atol=1e-4)


def test_without_behaviour_there_is_nothing_to_say() -> None:
    assert not rows_of({"substitute": NOTHING, "complement": NOTHING}, "complement", SIMILAR).nnz
