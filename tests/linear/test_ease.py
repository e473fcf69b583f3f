from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmsc_cli.linear import ease
from mmsc_cli.linear.ease import Ease, with_self


def _adjacency(items: int, seed: int, density: float = 0.2) -> sparse.csr_array[Any]:
    generator = np.random.default_rng(seed)
    upper = np.triu(generator.random((items, items)) * (generator.random((items, items)) < density), 1)
    return sparse.csr_array((upper + upper.T).astype(np.float32))


def _textbook(adjacency: sparse.csr_array[Any], regularisation: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Steck 2019, eq. 8, in float64: B = I - P diag(1 / diag(P)), P = (X'X + lambda I)^-1."""
    inputs = adjacency.toarray().astype(np.float64) + np.eye(adjacency.shape[0])
    precision = np.linalg.inv(inputs.T @ inputs + regularisation * np.eye(len(inputs)))
    weights = np.eye(len(inputs)) - precision / np.diag(precision)[None, :]
    return np.asarray(inputs @ weights)


@given(items=st.integers(1, 40), seed=st.integers(0, 1_000), regularisation=st.sampled_from([1.0, 30.0]))
@settings(max_examples=30, deadline=None)
def test_scores_are_those_of_the_closed_form(items: int, seed: int, regularisation: float) -> None:
    adjacency = _adjacency(items, seed)
    scores = Ease(with_self(adjacency), regularisation).rows(np.arange(items))
    np.testing.assert_allclose(scores, _textbook(adjacency, regularisation), rtol=2e-4, atol=2e-5)
    assert scores.dtype == np.float32


def test_rows_come_in_the_order_asked_for() -> None:
    adjacency = _adjacency(30, seed=1)
    model = Ease(with_self(adjacency))
    np.testing.assert_allclose(model.rows(np.asarray([7, 2, 7])), model.rows(np.arange(30))[[7, 2, 7]], rtol=1e-5)


def test_no_item_is_used_to_rebuild_itself() -> None:
    assert not Ease(with_self(_adjacency(30, seed=1)))._weights.diagonal().any()
    assert not Ease(with_self(_adjacency(3, seed=1, density=0))).rows(np.arange(3)).any()


def test_blocks_of_the_triangle_are_mirrored() -> None:
    size = 11
    lower = np.tril(np.random.default_rng(1).random((size, size)).astype(np.float32))
    matrix = lower + np.triu(np.full((size, size), 9, np.float32), 1)
    ease._mirror_lower(matrix, block=4)
    np.testing.assert_array_equal(matrix, lower + np.tril(lower, -1).T)


def test_a_matrix_without_inverse_is_said_to_be_one() -> None:
    with pytest.raises(FloatingPointError, match="singular"):
        Ease(with_self(_adjacency(5, seed=1)), regularisation=-100)
