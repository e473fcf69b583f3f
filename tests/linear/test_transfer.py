from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmsc_cli.linear.transfer import transfer_rows


@given(
    seed=st.integers(0, 1_000), self_weight=st.sampled_from([0.0, 0.5, 1.0]), damping=st.sampled_from([0.0, 0.5, 1.0])
)
@settings(max_examples=30, deadline=None)
def test_scores_are_those_of_the_formula(seed: int, self_weight: float, damping: float) -> None:
    generator = np.random.default_rng(seed)
    queries, items = 3, 10
    upper = np.triu(generator.random((items, items)) * (generator.random((items, items)) < 0.4), 1)
    adjacency = (upper + upper.T).astype(np.float32)
    similar = (generator.random((queries, items)) * (generator.random((queries, items)) < 0.3)).astype(np.float32)
    expected = self_weight * similar.astype(np.float64)
    for query in range(queries):
        for neighbour in range(items):
            for other in range(items):
                if adjacency[neighbour, other]:
                    degree = float(adjacency[:, other].sum())
                    borrowed = similar[query, neighbour] * adjacency[neighbour, other] / degree**damping
                    expected[query, other] += borrowed
    scores = transfer_rows(sparse.csr_array(similar), sparse.csr_array(adjacency), self_weight, damping)
    np.testing.assert_allclose(scores.toarray(), expected, rtol=1e-5, atol=1e-7)


def test_damping_keeps_a_bestseller_from_winning_everywhere() -> None:
    # The similar item 0 goes with 1 and with 2; 2 goes with everything.
    adjacency = np.zeros((8, 8), np.float32)
    for a, b in [(0, 1), (0, 2), *((2, other) for other in range(3, 8))]:
        adjacency[a, b] = adjacency[b, a] = 1
    similar = np.zeros((1, 8), np.float32)
    similar[0, 0] = 1
    scores = transfer_rows(sparse.csr_array(similar), sparse.csr_array(adjacency)).toarray()[0]
    assert scores[1] > scores[2] > 0
    assert scores[0] == pytest.approx(0.5), "the similar item itself"
