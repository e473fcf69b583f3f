"""Partners outside the catalogue, as evidence of baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mmsc_cli.evaluate.baselines.baseline import FittingTask
from mmsc_cli.evaluate.baselines.named import BASELINES, fit_baseline
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.tables.outside import Outside

USERS = [name for name, baseline in BASELINES.items() if baseline.uses_outside]


@pytest.fixture(scope="module")
def sparse_behaviour(plant: Callable[..., EvaluationContext]) -> EvaluationContext:
    """Few training pairs; the items of a group share partners outside the catalogue, which tell them apart."""
    context = plant(noise=50)
    generator = np.random.default_rng(3)
    pairs = context.pairs.select((context.pairs.split != "train") | (generator.random(len(context.pairs)) < 0.15))
    item = np.repeat(np.arange(context.n_items, dtype=np.int32), 3)
    partner = (5 * (item // 12) + generator.integers(0, 5, len(item))).astype(np.int32)
    item, partner = np.unique(np.stack([item, partner]), axis=1)
    ones = np.ones(len(item), np.float32)
    outside = Outside(item, partner, ones.astype(np.int8), ones.astype(np.bool_), ones)
    return replace(context, pairs=pairs, outside=outside)


@pytest.mark.parametrize("name", ["ease", "ppr", "knn-transfer"])
def test_what_shoppers_chose_elsewhere_tells_items_apart(
    name: str, sparse_behaviour: EvaluationContext, test_ndcg: Callable[..., float]
) -> None:
    task = FittingTask(sparse_behaviour.for_fitting("train"), "substitute", "under test")
    figures = [
        test_ndcg(
            BASELINES[name].fit(replace(task, with_outside=outside), **BASELINES[name].grid[0]),
            sparse_behaviour,
            "substitute",
        )
        for outside in (False, True)
    ]
    assert figures[1] > figures[0] + 0.02


@pytest.mark.parametrize("name", USERS)
def test_outside_partners_are_no_answers_and_the_same_each_time(name: str, sparse_behaviour: EvaluationContext) -> None:
    task = FittingTask(sparse_behaviour.for_fitting("train"), "complement", "under test", with_outside=True)
    queries = np.asarray([3, 12, 50])
    first, second = (BASELINES[name].fit(task, **BASELINES[name].grid[0])(queries) for _ in range(2))
    assert first.shape == (3, sparse_behaviour.n_items)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


def test_the_best_setting_is_tried_without_them_too(sparse_behaviour: EvaluationContext) -> None:
    scorer = fit_baseline("ease", sparse_behaviour)
    scorer.fit("substitute")
    tuning = scorer.tuning["substitute"]
    used = [point["setting"].get("outside", False) for point in tuning["grid"]]
    assert used == [True] * len(BASELINES["ease"].grid) + [False]
    assert tuning["setting"]["outside"] is True


def test_those_of_cold_items_are_never_seen(sparse_behaviour: EvaluationContext) -> None:
    assert sparse_behaviour.outside is not None
    fitting = sparse_behaviour.for_fitting("train", "valid")
    assert fitting.outside is not None
    assert set(sparse_behaviour.item_split[fitting.outside.item]) == {"warm"}
    with pytest.raises(ValueError, match="outside partners of held-out items"):
        replace(fitting, outside=sparse_behaviour.outside)
