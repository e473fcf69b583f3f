from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mmsc_cli.evaluate.baselines.baseline import Baseline, FittingTask, ScoreRows, Setting, every
from mmsc_cli.evaluate.baselines.named import BASELINES, fit_baseline
from mmsc_cli.evaluate.baselines.tuning import BaselineScorer, ValidationQueries
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import validation_protocol
from mmsc_cli.tables.pairs import Pairs


def _fit_share(task: FittingTask, *, share: float) -> ScoreRows:
    """Cheats, as only a test may: `share` of the score is whether two items are of one group, the rest is random."""
    noise = np.random.default_rng(0).random((task.context.n_items, task.context.n_items))
    group = np.arange(task.context.n_items) // 12
    scores = (share * (group[:, None] == group) + (1 - share) * noise).astype(np.float32)
    return lambda queries: scores[queries]


def _scorer(context: EvaluationContext, fit: Callable[..., ScoreRows], grid: tuple[Setting, ...]) -> BaselineScorer:
    return BaselineScorer("under test", Baseline(fit, grid), context)


def test_the_best_on_validation_is_kept_and_every_point_reported(
    planted: EvaluationContext, task_of: Callable[..., FittingTask]
) -> None:
    scorer = _scorer(planted, _fit_share, every(share=(0.0, 0.9, 0.2)))
    scores = scorer.scores("substitute", np.asarray([7]))
    report = scorer.tuning["substitute"]
    assert report["setting"] == {"share": 0.9}
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    figures = {point["setting"]["share"]: point["ndcg@10"] for point in report["grid"]}
    assert figures[0.0] < figures[0.2] < figures[0.9]
    assert report["seconds"] >= sum(point["seconds"] for point in report["grid"]) - 0.01
    np.testing.assert_array_equal(scores, _fit_share(task_of(planted), share=0.9)(np.asarray([7])))


def test_settings_are_chosen_without_validation_pairs_and_fitted_with_them(
    planted: EvaluationContext, with_other_pairs: Callable[..., EvaluationContext]
) -> None:
    fitted_on: list[tuple[int, set[str]]] = []

    def fit_and_note(task: FittingTask, *, number: int) -> ScoreRows:
        fitted_on.append((number, set(task.context.pairs.split.tolist())))
        cold = task.context.item_split != "warm"
        assert not cold[np.concatenate([task.context.pairs.a, task.context.pairs.b])].any()
        return _fit_share(task, share=number / 2)

    scorer = _scorer(planted, fit_and_note, every(number=(0, 1)))
    scorer.fit("substitute")
    assert fitted_on == [(0, {"train"}), (1, {"train"}), (1, {"train", "valid"})]
    assert scorer.tuning["substitute"]["fitted_on"] == ["train", "valid"]


@pytest.mark.parametrize("name", ["resource-allocation", "lightgcn"])
def test_a_fitted_baseline_has_learned_from_validation_pairs_and_from_no_test_pair(
    name: str, planted: EvaluationContext, with_other_pairs: Callable[..., EvaluationContext]
) -> None:
    queries = np.arange(0, planted.n_items, 7)
    contexts = (planted, with_other_pairs(planted, "test"), with_other_pairs(planted, "valid"))
    scores, other_test, other_valid = (
        fit_baseline(name, context).scores("substitute", queries) for context in contexts
    )
    np.testing.assert_array_equal(scores, other_test)
    assert (scores != other_valid).any()


def test_a_network_is_fitted_at_last_for_as_many_checks_as_were_best(
    planted: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[int | None] = []

    def fit_checked(task: FittingTask, *, number: int) -> ScoreRows:
        checks.append(task.checks)
        for share in (0.0, 0.9, 0.1):
            rows = _fit_share(task, share=share)
            if task.validate is not None:
                task.validate(rows, "checked")
        return rows

    _scorer(planted, fit_checked, every(number=(1,))).fit("substitute")
    assert checks == [None, 2]


def test_between_equals_the_earlier_one_is_kept(planted: EvaluationContext) -> None:
    def fit_alike(task: FittingTask, *, number: int) -> ScoreRows:
        return _fit_share(task, share=0.5)

    scorer = _scorer(planted, fit_alike, every(number=(3, 1, 2)))
    scorer.fit("substitute")
    assert scorer.tuning["substitute"]["setting"] == {"number": 3}


def test_only_one_model_lies_in_memory(planted: EvaluationContext, task_of: Callable[..., FittingTask]) -> None:
    alive: weakref.WeakSet[ScoreRows] = weakref.WeakSet()

    def fit_alone(task: FittingTask, *, share: float) -> ScoreRows:
        if alive:
            raise MemoryError
        rows = _fit_share(task, share=share)
        alive.add(rows)
        return rows

    scorer = _scorer(planted, fit_alone, every(share=(0.9, 0.0, 0.2)))
    scores = scorer.scores("substitute", np.asarray([7]))
    assert scorer.tuning["substitute"]["setting"] == {"share": 0.9}
    np.testing.assert_array_equal(scores, _fit_share(task_of(planted), share=0.9)(np.asarray([7])))


def test_nothing_to_tune_is_said(planted: EvaluationContext) -> None:
    scorer = fit_baseline("popularity", planted)
    scorer.fit("substitute")
    assert scorer.tuning["substitute"]["setting"] == {}
    assert scorer.tuning["substitute"]["grid"] == []


def test_an_earlier_choice_is_kept_while_the_grid_has_it(planted: EvaluationContext) -> None:
    fits: list[float] = []

    def fit_and_note(task: FittingTask, *, share: float) -> ScoreRows:
        fits.append(share)
        return _fit_share(task, share=share)

    baseline = Baseline(fit_and_note, every(share=(0.0, 0.9)))
    first = BaselineScorer("under test", baseline, planted)
    first.fit("substitute")
    fits.clear()
    later = replace(planted, kept={"under test": first.tuning})
    kept = BaselineScorer("under test", baseline, later)
    kept.fit("substitute")
    assert fits == [0.9]
    report, was = kept.tuning["substitute"], first.tuning["substitute"]
    assert {**report, "seconds": 0} == {**was, "seconds": 0}

    other = Baseline(fit_and_note, every(share=(0.1, 0.8)))
    anew = BaselineScorer("under test", other, later)
    anew.fit("substitute")
    assert anew.tuning["substitute"]["setting"] == {"share": 0.8}


def test_without_validation_pairs_the_default_is_taken(planted: EvaluationContext) -> None:
    blind = replace(planted, pairs=planted.pairs.of("train", "test"))
    scorer = _scorer(blind, _fit_share, every(share=(0.3, 1.0)))
    scorer.fit("substitute")
    assert scorer.tuning["substitute"]["setting"] == {"share": 0.3}
    assert [point["ndcg@10"] for point in scorer.tuning["substitute"]["grid"]] == [None, None]


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
    scores = np.random.default_rng(1).random((planted.n_items, planted.n_items)).astype(np.float32)
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
        return np.zeros((len(queries), planted.n_items), np.float32)

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
    assert scores.shape == (2, planted.n_items)
    assert np.isfinite(scores).all()
