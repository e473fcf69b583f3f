from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.evaluate.ablation import AblationPlan
from mmsc_cli.evaluate.baselines.named import fit_baseline
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.evaluate import evaluate
from mmsc_cli.evaluate.settings import EvaluateSettings
from mmsc_cli.metrics.scorer import Scorer


def _scorer(fixed_scorer: Callable[..., Any], items: int = 120, seed: int = 3) -> Scorer:
    scorer: Scorer = fixed_scorer(np.random.default_rng(seed).random((items, items)).astype(np.float32))
    return scorer


def test_the_result_has_the_keys_of_the_contract(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    result = evaluate(
        random_context(),
        _scorer(fixed_scorer),
        EvaluateSettings(baselines=["popularity", "ease"], negatives=20, bootstrap=50),
        fit_seconds=4.5,
        ablation=AblationPlan(lambda without, seed: _scorer(fixed_scorer, seed=seed), ("llm",), (1, 2)),
    )
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result) == ["protocol", "models", "gains", "lists", "by_degree", "sampled", "ablation"]
    assert list(result["models"]) == ["mmsc", "popularity", "ease"]
    for model in result["models"].values():
        assert set(model) - {"tuning"} == {"substitute", "complement", "seconds"}
        assert list(model["complement"]) == ["all", "clean", "tail", "cold", "cold_clean"]
        cell = model["substitute"]["all"]
        assert set(cell) == {"hit@10", "ndcg@10", "recall@10", "mrr@10", "queries", "ndcg@10_ci"}
        assert cell["ndcg@10_ci"][0] <= cell["ndcg@10"] <= cell["ndcg@10_ci"][1]
        assert model["seconds"]["score"] >= 0
    assert result["models"]["mmsc"]["seconds"]["fit"] == 4.5
    assert result["models"]["ease"]["seconds"]["fit"] > 0
    tuning = result["models"]["ease"]["tuning"]["complement"]
    assert tuning["setting"] in [point["setting"] for point in tuning["grid"]]
    assert all(0 <= point["ndcg@10"] <= 1 for point in tuning["grid"])
    assert tuning["chosen_on"] == ["warm"]
    assert result["models"]["popularity"]["tuning"]["complement"]["grid"] == []
    assert "not comparable" in result["sampled"]["note"]
    assert result["sampled"]["pair_cap"] == 20_000


def test_the_same_seed_gives_the_same_result(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    settings = EvaluateSettings(baselines="none", negatives=20, bootstrap=50)
    first, second = (evaluate(random_context(), _scorer(fixed_scorer), settings) for _ in range(2))
    for result in (first, second):
        del result["models"]["mmsc"]["seconds"]
    assert first == second


def test_a_catalogue_without_test_pairs_is_reported_as_empty(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = random_context()
    seen = replace(context, pairs=context.pairs.of("train", "valid"))
    result = evaluate(seen, _scorer(fixed_scorer), EvaluateSettings(baselines=["popularity"], bootstrap=10))
    for part in result["models"]["popularity"]["substitute"].values():
        assert part["queries"] == 0
        assert part["ndcg@10"] is None
    assert result["sampled"]["models"]["mmsc"]["complement"]["hit@10"] is None


def test_a_test_pair_in_the_training_graph_is_found_out(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = random_context()
    pairs, test = context.pairs, context.pairs.of("test")
    leaked = replace(test, a=test.b, b=test.a, split=np.full(len(test), "train"))
    names = ("a", "b", "view_ab", "view_ba", "buy_ab", "buy_ba", "split")
    both = replace(pairs, **{name: np.concatenate([getattr(pairs, name), getattr(leaked, name)]) for name in names})
    with pytest.raises(WorkspaceError, match="leaks"):
        evaluate(replace(context, pairs=both), _scorer(fixed_scorer), EvaluateSettings())


def test_what_all_leaves_out_is_said(
    random_context: Callable[..., EvaluationContext],
    fixed_scorer: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "mmsc_cli"):
        result = evaluate(
            random_context(),
            _scorer(fixed_scorer),
            EvaluateSettings(baselines="all", negatives=5, bootstrap=10),
        )
    assert "image-knn" in result["protocol"]["baselines_left_out"]
    assert "image-knn" in caplog.text
    assert "knn-transfer" in result["models"]


def test_an_unknown_baseline_stops_before_anything_is_scored(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    scorer = fixed_scorer(np.zeros((120, 120), np.float32))
    with pytest.raises(InputError, match="unknown baseline"):
        evaluate(random_context(), scorer, EvaluateSettings(baselines=["popularty"]))
    assert scorer.asked == []


def test_the_model_is_set_beside_the_best_baseline_of_each_slice(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = random_context()
    settings = EvaluateSettings(baselines=["popularity", "category-popularity"], negatives=5, bootstrap=200)
    result = evaluate(context, _scorer(fixed_scorer), settings)
    for relation, gains in result["gains"].items():
        assert list(gains) == list(result["models"]["mmsc"][relation])[:5]
        for part, gain in gains.items():
            figures = {name: model[relation][part]["ndcg@10"] for name, model in result["models"].items()}
            model = figures.pop("mmsc")
            best = max(figures.values())
            assert figures[gain["baseline"]] == best
            assert gain["ndcg@10"] == pytest.approx(best)
            assert gain["difference"] == pytest.approx(model - best)
            assert gain["difference_ci"][0] <= gain["difference"] <= gain["difference_ci"][1]
            assert gain["relative"] is None or gain["relative"] == pytest.approx(model / best - 1)


def test_a_copy_of_the_baseline_gains_nothing_for_certain(random_context: Callable[..., EvaluationContext]) -> None:
    context = random_context()
    settings = EvaluateSettings(baselines=["resource-allocation"], negatives=5, bootstrap=100)
    gain = evaluate(context, fit_baseline("resource-allocation", context), settings)["gains"]["substitute"]["all"]
    assert (gain["difference"], gain["difference_ci"], gain["relative"]) == (0, [0, 0], 0)
