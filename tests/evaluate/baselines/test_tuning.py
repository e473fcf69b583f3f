from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mmsc_cli.evaluate.baselines.baseline import Baseline, FittingTask, ScoreRows, every
from mmsc_cli.evaluate.baselines.registry import BASELINES, fit_baseline
from mmsc_cli.evaluate.baselines.tuning import ValidationQueries, tune
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import validation_protocol
from mmsc_cli.tables.pairs import Pairs


def _fit_share(task: FittingTask, *, share: float) -> ScoreRows:
    """Cheats, as only a test may: `share` of the score is whether two items are of one group, the rest is random."""
    noise = np.random.default_rng(0).random((task.context.items, task.context.items))
    group = np.arange(task.context.items) // 12
    scores = (share * (group[:, None] == group) + (1 - share) * noise).astype(np.float32)
    return lambda queries: scores[queries]


def test_the_best_on_validation_is_kept_and_every_point_reported(
    planted: EvaluationContext, task_of: Callable[..., FittingTask]
) -> None:
    tuned = tune(Baseline(_fit_share, every(share=(0.0, 0.9, 0.2))), task_of(planted))
    assert tuned.setting == {"share": 0.9}
    report = tuned.report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    figures = {point["setting"]["share"]: point["ndcg@10"] for point in report["grid"]}
    assert figures[0.0] < figures[0.2] < figures[0.9]
    assert report["seconds"] >= sum(point["seconds"] for point in report["grid"]) - 0.01
    np.testing.assert_array_equal(tuned.rows(np.asarray([7])), _fit_share(task_of(planted), share=0.9)(np.asarray([7])))


def test_between_equals_the_earlier_one_is_kept(
    planted: EvaluationContext, task_of: Callable[..., FittingTask]
) -> None:
    def fit_alike(task: FittingTask, *, number: int) -> ScoreRows:
        return _fit_share(task, share=0.5)

    assert tune(Baseline(fit_alike, every(number=(3, 1, 2))), task_of(planted)).setting == {"number": 3}


def test_where_memory_holds_one_model_the_best_is_fitted_again(
    planted: EvaluationContext, task_of: Callable[..., FittingTask]
) -> None:
    alive: weakref.WeakSet[ScoreRows] = weakref.WeakSet()

    def fit_alone(task: FittingTask, *, share: float) -> ScoreRows:
        if alive:
            raise MemoryError
        rows = _fit_share(task, share=share)
        alive.add(rows)
        return rows

    grid = every(share=(0.9, 0.0, 0.2))
    tuned = tune(Baseline(fit_alone, grid), task_of(planted))

    with_room = tune(Baseline(_fit_share, grid), task_of(planted))
    assert tuned.setting == {"share": 0.9}
    assert [trial.ndcg for trial in tuned.trials] == [trial.ndcg for trial in with_room.trials]
    np.testing.assert_array_equal(tuned.rows(np.asarray([7])), with_room.rows(np.asarray([7])))


def test_nothing_to_tune_is_said(planted: EvaluationContext, task_of: Callable[..., FittingTask]) -> None:
    report = tune(BASELINES["popularity"], task_of(planted)).report()
    assert report["setting"] == {}
    assert report["grid"] == []


def test_without_validation_pairs_the_default_is_taken(
    planted: EvaluationContext, task_of: Callable[..., FittingTask]
) -> None:
    blind = replace(planted, pairs=planted.pairs.of("train", "test"))
    tuned = tune(Baseline(_fit_share, every(share=(0.3, 1.0))), task_of(blind))
    assert tuned.setting == {"share": 0.3}
    assert [trial.ndcg for trial in tuned.trials] == [None, None]


@pytest.mark.parametrize("name", ["resource-allocation", "ppr", "ease", "knn-transfer"])
def test_test_pairs_have_no_say_in_tuning(
    name: str, planted: EvaluationContext, with_other_pairs: Callable[..., EvaluationContext]
) -> None:
    reports = []
    for context in (planted, with_other_pairs(planted, "test")):
        scorer = fit_baseline(name, context)
        scorer.fit("complement")
        reports.append([point["ndcg@10"] for point in scorer.tuning["complement"]["grid"]])
    assert reports[0] == reports[1]


def test_tuning_on_test_pairs_is_refused(planted: EvaluationContext) -> None:
    with pytest.raises(ValueError, match="test pairs"):
        validation_protocol("substitute", planted.pairs, planted.item_split)


def test_training_pairs_are_masked_in_validation(planted: EvaluationContext) -> None:
    train = planted.pairs.of("train")
    scores = np.random.default_rng(1).random((planted.items, planted.items)).astype(np.float32)
    memorised = scores.copy()
    memorised[train.a, train.b] = memorised[train.b, train.a] = 99
    np.fill_diagonal(memorised, 100)
    validation = ValidationQueries(planted, "substitute", cold=True)
    honest = validation.ndcg(lambda queries: scores[queries].copy(), "honest")
    assert validation.ndcg(lambda queries: memorised[queries].copy(), "by heart") == honest


def test_hand_computed_validation(hand_context: EvaluationContext) -> None:
    # Substitutes to find: 4 for 0 and 0 for 4; 3 for the cold 10. 1, 2, 3 and 8 are known of 0.
    order = np.asarray([4, 9, 9, 5, 3, 9, 2, 1, 9, 0, 0, 0, 0], np.float32)
    asked: list[int] = []

    def rows(queries: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        asked.extend(queries.tolist())
        return np.tile(order, (len(queries), 1))

    # 0: only 5 is before 4. 4: 1, 2, 3, 5 and 8 are before 0.
    warm = (1 / np.log2(3) + 1 / np.log2(7)) / 2
    # 10: 1, 2, 5 and 8 are before 3.
    cold = 1 / np.log2(6)
    assert ValidationQueries(hand_context, "substitute", cold=False).ndcg(rows, "hand") == pytest.approx(warm)
    assert asked == [0, 4]
    both = ValidationQueries(hand_context, "substitute", cold=True)
    assert both.ndcg(rows, "hand") == pytest.approx((warm + cold) / 2)
    assert both.kinds == ["warm", "cold"]


def test_a_large_catalogue_is_validated_on_a_sample(
    planted: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("mmsc_cli.evaluate.baselines.tuning.QUERIES", 5)

    def rows(queries: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        asked.extend(queries.tolist())
        return np.zeros((len(queries), planted.items), np.float32)

    for _ in range(2):
        ValidationQueries(planted, "substitute", cold=False).ndcg(rows, "sampled")
    assert len(asked) == 10
    assert asked[:5] == asked[5:]


@pytest.mark.parametrize("name", BASELINES)
def test_a_relation_without_pairs_is_no_error(
    name: str, pair_table: Callable[..., Pairs], planted: EvaluationContext
) -> None:
    only_views = replace(planted, pairs=pair_table([(2, 3, 1.0, 0.0, "train"), (3, 4, 1.0, 0.0, "valid")]))
    scores = fit_baseline(name, only_views).scores("complement", np.asarray([2, 100]))
    assert scores.shape == (2, planted.items)
    assert np.isfinite(scores).all()
