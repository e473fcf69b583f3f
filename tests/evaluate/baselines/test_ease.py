from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmsc_cli.evaluate.baselines import factors as ease
from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows
from mmsc_cli.evaluate.baselines.named import fit_baseline
from mmsc_cli.evaluate.context import EvaluationContext


@pytest.mark.parametrize(("noise_strength", "expected"), [(0.2, True), (5.0, False)])
def test_strengths_are_used_where_they_tell_noise_from_truth(
    noise_strength: float, expected: bool, plant: Callable[..., EvaluationContext]
) -> None:
    scorer = fit_baseline("ease", plant(noise=800, noise_strength=noise_strength))
    scorer.fit("substitute")
    assert scorer.tuning["substitute"]["setting"]["strengths"] is expected


def test_a_large_catalogue_gets_the_sparse_relative(
    planted: EvaluationContext,
    fit: Callable[..., ScoreRows],
    test_ndcg: Callable[..., float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = fit("ease", planted, "complement", None)
    monkeypatch.setattr(ease, "DENSE_ITEMS", 100)
    sparse = fit("ease", planted, "complement", None)
    queries = np.arange(planted.n_items)
    assert not np.array_equal(exact(queries), sparse(queries))
    figures = [test_ndcg(rows, planted, "complement") for rows in (exact, sparse)]
    assert figures[1] == pytest.approx(figures[0], abs=0.03)


def test_a_setting_that_is_tried_from_the_nearest_items_is_fitted_exactly_at_last(
    planted: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = fit_baseline("ease", planted)
    exact.fit("complement")
    monkeypatch.setattr(ease, "TUNED_FROM_NEAREST", 100)
    quick = fit_baseline("ease", planted)
    queries = np.arange(planted.n_items)
    scores = quick.scores("complement", queries)
    report = quick.tuning["complement"]
    task = FittingTask(planted.for_fitting("train", "valid"), "complement", "exact")
    np.testing.assert_array_equal(scores, ease.fit_ease(task, **report["setting"])(queries))
    figures = [
        (tried["ndcg@10"], other["ndcg@10"])
        for tried, other in zip(report["grid"], exact.tuning["complement"]["grid"], strict=True)
    ]
    assert all(quickly == pytest.approx(exactly, abs=0.03) for quickly, exactly in figures)
    assert any(quickly != exactly for quickly, exactly in figures)
