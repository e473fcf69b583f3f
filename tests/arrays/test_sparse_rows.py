from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import both_directions, greatest, symmetric_matrix


def scores() -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    return (random.random((6, 20)) * (random.random((6, 20)) < 0.4)).astype(np.float32)


def test_the_greatest_entries_in_units_of_their_spread() -> None:
    found = greatest(scores(), keep=4).toarray()
    for row, kept in zip(scores(), found, strict=True):
        best = np.argsort(-row)[:4]
        expected = np.zeros(20)
        expected[best] = row[best] / row[best].std()
        np.testing.assert_allclose(kept, expected, rtol=1e-4)


def test_sparse_and_dense_rows_give_the_same() -> None:
    for keep in (2, 12, 50):
        dense, thin = greatest(scores(), keep), greatest(sparse.csr_array(scores()), keep)
        np.testing.assert_allclose(dense.toarray(), thin.toarray(), rtol=1e-5)


def test_entries_below_zero_are_never_kept() -> None:
    assert greatest(np.array([[-1.0, -2.0, 3.0]], np.float32), keep=2).toarray()[0].tolist()[:2] == [0, 0]


def test_a_pair_is_in_the_matrix_in_both_directions() -> None:
    a, b = np.array([0, 1], np.int32), np.array([2, 3], np.int32)
    matrix = symmetric_matrix(a, b, np.array([5, 7], np.float32), 4).toarray()

    np.testing.assert_array_equal(matrix, [[0, 0, 5, 0], [0, 0, 0, 7], [5, 0, 0, 0], [0, 7, 0, 0]])
    assert symmetric_matrix(a, b, None, 4).dtype == np.bool_
    assert [side.tolist() for side in both_directions(a, b)] == [[0, 1, 2, 3], [2, 3, 0, 1]]
