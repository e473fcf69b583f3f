from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsc_cli.train.ranking.examples import LEFT_OUT
from mmsc_cli.train.ranking.ranker import HEADS, Examples, fit_ranker

QUERIES, CANDIDATES, FEATURES = 200, 12, 4


@pytest.fixture(scope="module")
def examples() -> Examples:
    """One feature says what is right, three are noise; its offset and unit differ from the others'."""
    draw = torch.Generator().manual_seed(0)
    evidence = torch.randn(QUERIES, CANDIDATES, FEATURES, generator=draw)
    right = torch.zeros(QUERIES, CANDIDATES)
    right[torch.arange(QUERIES), evidence[:, :, 2].argmax(dim=1)] = 1
    evidence[:, :, 2] = 1_000 + 50 * evidence[:, :, 2]
    return made(evidence, right, torch.zeros(right.shape, dtype=torch.bool))


def made(evidence: torch.Tensor, right: torch.Tensor, left_out: torch.Tensor) -> Examples:
    """Examples of which every candidate is sampled, and every right one is of this relation alone."""
    correction = left_out.float() * LEFT_OUT
    return Examples(evidence.half(), torch.stack([right, right]), torch.stack([correction, correction]))


def share_on_top(examples: Examples, scores: np.ndarray) -> float:
    best = torch.from_numpy(scores).argmax(dim=1)
    return float(examples.right[0, torch.arange(len(examples)), best].mean())


def test_what_is_right_comes_first_among_candidates_never_seen(examples: Examples) -> None:
    learned = Examples(examples.evidence[:150], examples.right[:, :150], examples.correction[:, :150])
    others = Examples(examples.evidence[150:], examples.right[:, 150:], examples.correction[:, 150:])
    ranker = fit_ranker([learned], 20, seed=1, purpose="test")
    scores = ranker.scores(others.evidence.float().numpy())
    for head in range(len(HEADS)):
        assert share_on_top(others, scores[:, :, head]) > 0.8


def test_what_is_left_out_is_neither_right_nor_wrong(examples: Examples) -> None:
    """Candidates that are as good as the right ones but no positives would teach the opposite if they were wrong."""
    left_out = torch.zeros(QUERIES, CANDIDATES, dtype=torch.bool)
    left_out[:, :4] = True
    right = examples.right[0] * ~left_out
    evidence = examples.evidence.float()
    evidence[:, :4, 2] = evidence[:, :, 2].max() + 10
    ranker = fit_ranker([made(evidence, right, left_out)], 20, seed=1, purpose="test")
    scores = ranker.scores(evidence.numpy())
    assert scores[:, :4].mean() > scores[:, 4:].mean()


def test_the_seed_decides(examples: Examples) -> None:
    first, again, other = (
        fit_ranker([examples], 1, seed=seed, purpose="test").scores(examples.evidence[:5].float().numpy())
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_column_that_never_changes_does_no_harm(examples: Examples) -> None:
    evidence = torch.cat([examples.evidence.float(), torch.full((QUERIES, CANDIDATES, 1), 3.0)], dim=2)
    nothing = torch.zeros(QUERIES, CANDIDATES, dtype=torch.bool)
    ranker = fit_ranker([made(evidence, examples.right[0], nothing)], 2, seed=1, purpose="test")
    assert np.isfinite(ranker.scores(evidence.numpy())).all()


def test_examples_of_several_looks_teach_as_if_they_were_of_one(examples: Examples) -> None:
    parts = [examples.take(torch.arange(start, stop)) for start, stop in ((0, 70), (70, 70), (70, QUERIES))]
    evidence = examples.evidence[:5].float().numpy()
    whole, joined = (fit_ranker(given, 2, seed=1, purpose="test").scores(evidence) for given in ([examples], parts))
    np.testing.assert_array_equal(whole, joined)
