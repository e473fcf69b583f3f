from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmsc_cli.linear.resource_allocation import ResourceAllocation


@given(items=st.integers(1, 12), seed=st.integers(0, 1_000))
@settings(max_examples=30, deadline=None)
def test_scores_are_those_of_the_formula(items: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    upper = np.triu(generator.random((items, items)) * (generator.random((items, items)) < 0.4), 1)
    weights = (upper + upper.T).astype(np.float32)
    expected = np.zeros((items, items))
    for i in range(items):
        for j in range(items):
            for shared in range(items):
                if weights[i, shared] and weights[shared, j]:
                    expected[i, j] += weights[i, shared] * weights[shared, j] / weights[:, shared].sum()
    queries = generator.integers(0, items, 5)
    scores = ResourceAllocation(sparse.csr_array(weights)).rows(queries)
    np.testing.assert_allclose(scores.toarray(), expected[queries], rtol=1e-5, atol=1e-7)


def test_a_rarer_shared_neighbour_counts_more() -> None:
    # 0 and 1 share item 2, which has no other neighbour; 0 and 3 share item 4, which has two more.
    edges = [(0, 2), (1, 2), (0, 4), (3, 4), (5, 4), (6, 4)]
    weights = np.zeros((7, 7), np.float32)
    for a, b in edges:
        weights[a, b] = weights[b, a] = 1
    scores = ResourceAllocation(sparse.csr_array(weights)).rows(np.asarray([0])).toarray()[0]
    assert scores[1] > scores[3] > 0
    assert scores[2] == 0, "a neighbour without shared neighbours"
