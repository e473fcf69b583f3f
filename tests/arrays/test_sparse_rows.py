from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays import sparse_rows
from mmsc_cli.arrays.sparse_rows import best_entries, both_directions, entries_at, greatest, symmetric_matrix


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


@pytest.mark.parametrize("keep", [1, 3, 30])
@pytest.mark.parametrize("together", [1, 4, 100])
def test_the_best_entries_come_best_first_and_equal_ones_by_column(
    keep: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_rows, "SORTED_TOGETHER", together)
    random = np.random.default_rng(1)
    dense = random.integers(-1, 4, (9, 20)).astype(np.float32) * (random.random((9, 20)) < random.random((9, 1)))
    columns, values = best_entries(sparse.csr_array(dense), keep)
    for row, found, of_found in zip(dense, columns, values, strict=True):
        expected = [column for column in np.argsort(-row, kind="stable").tolist() if row[column] > 0][:keep]
        padding = keep - len(expected)
        assert found.tolist() == expected + [-1] * padding
        assert of_found.tolist() == row[expected].tolist() + [0] * padding


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5])
def test_entries_are_read_at_columns_and_leave_no_trace(density: float) -> None:
    random = np.random.default_rng(2)
    scratch = np.zeros((8, 300), np.float32)
    for _ in range(2):
        rows = (random.random((6, 300)) * (random.random((6, 300)) < density)).astype(np.float32)
        columns = random.integers(0, 300, (6, 40))
        found = entries_at(sparse.csr_array(rows), columns, scratch)
        np.testing.assert_array_equal(found, np.take_along_axis(rows, columns, axis=1))
        assert not scratch.any()
