from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmsc_cli.evaluate.baselines import factors as ease
from mmsc_cli.evaluate.baselines.baseline import ScoreRows
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
