from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmsc_cli.evaluate.baselines.named import fit_baseline
from mmsc_cli.evaluate.baselines.ppr import walk_rows
from mmsc_cli.evaluate.context import EvaluationContext


@given(
    items=st.integers(1, 30), seed=st.integers(0, 1_000), steps=st.integers(1, 5), damping=st.sampled_from([0.5, 0.85])
)
@settings(max_examples=30, deadline=None)
def test_scores_are_those_of_the_power_series(items: int, seed: int, steps: int, damping: float) -> None:
    generator = np.random.default_rng(seed)
    upper = np.triu(generator.random((items, items)) * (generator.random((items, items)) < 0.2), 1)
    adjacency = upper + upper.T
    degree = adjacency.sum(axis=1, keepdims=True)
    walk = np.divide(adjacency, degree, out=np.zeros_like(adjacency), where=degree > 0)
    expected = sum(np.linalg.matrix_power(damping * walk, step) for step in range(1, steps + 1))
    queries = generator.integers(0, items, 4)
    scores = walk_rows(sparse.csr_array(adjacency.astype(np.float32)), steps, damping)(queries)
    np.testing.assert_allclose(scores, np.asarray(expected)[queries], rtol=1e-4, atol=1e-6)
    assert scores.dtype == np.float32


def test_strengths_are_used_where_they_tell_noise_from_truth(plant: Callable[..., EvaluationContext]) -> None:
    scorer = fit_baseline("ppr", plant(noise=800, noise_strength=0.2))
    scorer.fit("substitute")
    assert scorer.tuning["substitute"]["setting"]["strengths"] is True
