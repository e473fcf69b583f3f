from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsc_cli.train.rerank.ranker import Examples, fit_ranker

QUERIES, CANDIDATES, FEATURES = 200, 12, 4


@pytest.fixture(scope="module")
def examples() -> Examples:
    """One feature says what is right, three are noise; its offset and unit differ from the others'."""
    draw = torch.Generator().manual_seed(0)
    evidence = torch.randn(QUERIES, CANDIDATES, FEATURES, generator=draw)
    right = torch.zeros(QUERIES, CANDIDATES)
    right[torch.arange(QUERIES), evidence[:, :, 2].argmax(dim=1)] = 1
    evidence[:, :, 2] = 1_000 + 50 * evidence[:, :, 2]
    return Examples(evidence, right, torch.zeros(right.shape, dtype=torch.bool))


def share_on_top(examples: Examples, scores: np.ndarray) -> float:
    best = torch.from_numpy(scores).argmax(dim=1)
    return float(examples.right[torch.arange(len(examples)), best].mean())


def test_what_is_right_comes_first_among_candidates_never_seen(examples: Examples) -> None:
    learned = Examples(examples.evidence[:150], examples.right[:150], examples.left_out[:150])
    others = Examples(examples.evidence[150:], examples.right[150:], examples.left_out[150:])
    ranker = fit_ranker(learned, 20, seed=1, purpose="test")
    assert share_on_top(others, ranker.scores(others.evidence.numpy())) > 0.8


def test_what_is_left_out_is_neither_right_nor_wrong(examples: Examples) -> None:
    """Candidates that are as good as the right ones but no positives would teach the opposite if they were wrong."""
    left_out = torch.zeros(examples.right.shape, dtype=torch.bool)
    left_out[:, :4] = True
    right = examples.right * ~left_out
    evidence = examples.evidence.clone()
    evidence[:, :4, 2] = evidence[:, :, 2].max() + 10
    ranker = fit_ranker(Examples(evidence, right, left_out), 20, seed=1, purpose="test")
    scores = ranker.scores(evidence.numpy())
    assert scores[:, :4].mean() > scores[:, 4:].mean()


def test_the_seed_decides(examples: Examples) -> None:
    first, again, other = (
        fit_ranker(examples, 1, seed=seed, purpose="test").scores(examples.evidence[:5].numpy()) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_column_that_never_changes_does_no_harm(examples: Examples) -> None:
    evidence = torch.cat([examples.evidence, torch.full((QUERIES, CANDIDATES, 1), 3.0)], dim=2)
    ranker = fit_ranker(Examples(evidence, examples.right, examples.left_out), 2, seed=1, purpose="test")
    assert np.isfinite(ranker.scores(evidence.numpy())).all()
