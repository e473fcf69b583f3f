from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmsc_cli.linear import neighbourhood_ease
from mmsc_cli.linear.ease import Ease, with_self
from mmsc_cli.linear.neighbourhood_ease import CutGram, NeighbourhoodEase


def _adjacency(items: int, seed: int, density: float = 0.2) -> sparse.csr_array[Any]:
    generator = np.random.default_rng(seed)
    upper = np.triu(generator.random((items, items)) * (generator.random((items, items)) < density), 1)
    return sparse.csr_array((upper + upper.T).astype(np.float32))


@given(items=st.integers(1, 40), seed=st.integers(0, 1_000), regularisation=st.sampled_from([1.0, 30.0]))
@settings(max_examples=20, deadline=None)
def test_with_neighbourhoods_of_the_whole_catalogue_it_is_ease(items: int, seed: int, regularisation: float) -> None:
    # Dense enough that all items overlap with all: what does not overlap is no neighbour.
    adjacency = _adjacency(items, seed, density=0.9)
    scores = NeighbourhoodEase(with_self(adjacency), regularisation, neighbours=items).rows(np.arange(items))
    overlap = (adjacency + sparse.eye_array(items)).toarray()
    if (overlap.T @ overlap > 0).all():
        np.testing.assert_allclose(
            scores, Ease(with_self(adjacency), regularisation).rows(np.arange(items)), rtol=1e-3, atol=1e-4
        )
    assert scores.dtype == np.float32


def test_rows_and_columns_need_not_be_the_same_items() -> None:
    inputs = sparse.csr_array(with_self(_adjacency(40, seed=2, density=0.9))[:, :25])
    scores = NeighbourhoodEase(inputs, neighbours=25).rows(np.arange(40))
    np.testing.assert_allclose(scores, Ease(inputs).rows(np.arange(40)), rtol=1e-3, atol=1e-4)


def test_chunks_do_not_change_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    adjacency = _adjacency(50, seed=1)
    whole = NeighbourhoodEase(with_self(adjacency), neighbours=5).rows(np.arange(50))
    monkeypatch.setattr(neighbourhood_ease, "CHUNK", 7)
    monkeypatch.setattr(neighbourhood_ease, "SOLVED", 7)
    np.testing.assert_allclose(
        NeighbourhoodEase(with_self(adjacency), neighbours=5).rows(np.arange(50)), whole, rtol=1e-5
    )


def test_only_the_nearest_items_get_weights() -> None:
    adjacency = _adjacency(50, seed=1)
    weights = NeighbourhoodEase(with_self(adjacency), neighbours=5).weights
    assert np.bincount(weights.indices, minlength=50).max() <= 5
    assert not weights.diagonal().any()
    gram = np.asarray((adjacency + sparse.eye_array(50)).toarray())
    overlap = gram.T @ gram
    np.fill_diagonal(overlap, 0)
    for column in range(50):
        used = np.flatnonzero(weights[:, [column]].toarray())
        assert overlap[used, column].min() >= np.sort(overlap[:, column])[-5] - 1e-4


def test_items_without_pairs_score_nothing() -> None:
    assert not NeighbourhoodEase(with_self(_adjacency(4, seed=1, density=0))).rows(np.arange(4)).any()


def test_one_gram_matrix_serves_several_penalties() -> None:
    inputs = with_self(_adjacency(50, seed=1))
    gram = CutGram.of(inputs)
    for penalty in (1.0, 30.0):
        shared = NeighbourhoodEase(inputs, penalty, neighbours=5, gram=gram).rows(np.arange(50))
        np.testing.assert_array_equal(shared, NeighbourhoodEase(inputs, penalty, neighbours=5).rows(np.arange(50)))
