from __future__ import annotations

import numpy as np

from mmsc_cli.arrays.rows import divide, paired_dots, reciprocal, unit_rows


def test_nothing_is_divided_by_zero() -> None:
    found = reciprocal(np.array([0, 0.5, 4], np.float32))

    assert found.tolist() == [0, 2, 0.25]
    assert found.dtype == np.float32


def test_what_there_is_nothing_to_divide_by_is_zero() -> None:
    quotient = divide(np.array([[1, 2], [3, 4]], np.float32), np.array([[2], [0]], np.float32))

    assert quotient.tolist() == [[0.5, 1], [0, 0]]
    assert quotient.dtype == np.float32
    assert divide(1, np.array([4, 0])).tolist() == [0.25, 0]


def test_rows_get_unit_length_and_zero_rows_stay() -> None:
    assert unit_rows(np.array([[3, 4], [0, 0]], np.float16)).tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0]]


def test_paired_dots_are_those_of_each_pair_alone() -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((50, 7)).astype(np.float32)
    a, b = random.integers(0, 50, (2, 600))
    np.testing.assert_allclose(paired_dots(vectors, a, b), (vectors[a] * vectors[b]).sum(axis=1), rtol=1e-4, atol=1e-5)
