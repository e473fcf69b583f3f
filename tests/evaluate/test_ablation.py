from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.ablation import AblationPlan, ablate, compare
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.evaluate import evaluate
from mmsc_cli.evaluate.protocol import relation_protocol
from mmsc_cli.evaluate.settings import EvaluateSettings
from mmsc_cli.evaluate.truth_mode import KnownTruth
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.model.parts import Part
from mmsc_cli.tables.relations import RELATIONS

# How well the constructed model knows the test pairs without a part.
KNOWLEDGE = {(): 0.5, ("llm",): 0.2, ("denoise",): 0.9, ("image",): 0.5}

SETTINGS = EvaluateSettings(baselines="none", negatives=5, bootstrap=20)


def _ablate(
    context: EvaluationContext,
    fixed_scorer: Callable[..., Any],
    parts: tuple[Part, ...],
    seeds: tuple[int, ...],
) -> dict[str, Any]:
    test = context.pairs.of("test")

    def fit(without: tuple[Part, ...], seed: int) -> Scorer:
        generator = np.random.default_rng(seed)
        scores = generator.random((context.n_items, context.n_items)).astype(np.float32)
        known = generator.random(len(test)) < KNOWLEDGE[without]
        scores[test.a[known], test.b[known]] = scores[test.b[known], test.a[known]] = 2
        scorer: Scorer = fixed_scorer(scores)
        return scorer

    protocols = {relation: relation_protocol(relation, context.pairs, context.item_split) for relation in RELATIONS}
    return ablate(AblationPlan(fit, parts, seeds), protocols, seed=1, resamples=400)


def test_verdicts_on_constructed_models(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    result = _ablate(random_context(), fixed_scorer, ("llm", "denoise", "image"), (1, 2))
    json.dumps(result, allow_nan=False)
    for relation in RELATIONS:
        verdicts = {part: by[relation]["all"]["verdict"] for part, by in result["parts"].items()}
        assert verdicts == {"llm": "helps", "denoise": "hurts", "image": "no difference"}
        helped = result["parts"]["llm"][relation]["all"]
        assert helped["difference_ci"][0] < helped["difference"] < helped["difference_ci"][1]
        mean = result["full"][relation]["all"]["ndcg@10"]["mean"]
        assert helped["difference"] == pytest.approx(mean - helped["without"])
        assert len(helped["difference_by_seed"]) == 2
        assert np.mean(helped["difference_by_seed"]) == pytest.approx(helped["difference"])
        assert list(result["parts"]["llm"][relation]) == ["all", "clean", "tail", "cold", "cold_clean"]


def test_seeds_alone_give_mean_and_standard_deviation(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = random_context()
    result = _ablate(context, fixed_scorer, (), (1, 2, 3))
    single = [_ablate(context, fixed_scorer, (), (seed,)) for seed in (1, 2, 3)]
    values = [each["full"]["substitute"]["all"]["hit@10"]["mean"] for each in single]
    spread = result["full"]["substitute"]["all"]["hit@10"]
    assert result["parts"] == {}
    assert spread["mean"] == pytest.approx(np.mean(values))
    assert spread["std"] == pytest.approx(np.std(values, ddof=1))
    assert single[0]["full"]["substitute"]["all"]["hit@10"]["std"] is None, "one seed says nothing of the spread"


def test_an_empty_slice_has_no_verdict(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    result = _ablate(random_context(pairs=0), fixed_scorer, ("llm",), (1,))
    assert result["parts"]["llm"]["substitute"]["all"]["verdict"] is None
    assert result["full"]["substitute"]["all"]["queries"] == 0


def test_the_interval_is_that_of_the_differences_query_by_query() -> None:
    generator = np.random.default_rng(4)
    # Queries differ much from one another, the two models little: only a paired comparison can tell them apart.
    easy = generator.random((1, 400, 1)) * np.ones((2, 1, 4))
    with_part = easy + 0.01 + 0.01 * generator.standard_normal((2, 400, 4))
    found = compare(with_part, easy, "part", 1, 1_000)
    low, high = found["difference_ci"]
    assert found["verdict"] == "helps"
    assert low < found["difference"] < high
    assert high - low < 0.005


def test_few_queries_that_disagree_cannot_tell() -> None:
    generator = np.random.default_rng(4)
    with_part, without = generator.random((2, 1, 20, 4))
    assert compare(with_part, without, "part", 1, 1_000)["verdict"] == "cannot tell"


def test_what_cannot_be_tested_is_named_with_its_reason(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = random_context()
    trained: list[tuple[Part, ...]] = []

    def fit(without: tuple[Part, ...], seed: int) -> Scorer:
        trained.append(without)
        scorer: Scorer = fixed_scorer(np.random.default_rng(seed).random((120, 120)).astype(np.float32))
        return scorer

    protocols = {relation: relation_protocol(relation, context.pairs, context.item_split) for relation in RELATIONS}
    plan = AblationPlan(fit, ("id",), (1,), {"llm": "there are no labels"}, "rules")
    result = ablate(plan, protocols, seed=1, resamples=50)
    assert trained == [(), ("id",)]
    assert result["not_tested"] == {"llm": "there are no labels"}
    assert result["annotator"] == "rules"
    assert list(result["parts"]) == ["id"]


def test_where_the_truth_is_known_parts_are_judged_by_it_too(
    random_context: Callable[..., EvaluationContext],
    random_truth: Callable[..., KnownTruth],
    fixed_scorer: Callable[..., Any],
) -> None:
    context = random_context()
    scorer = fixed_scorer(np.random.default_rng(1).random((120, 120)).astype(np.float32))
    plan = AblationPlan(lambda without, seed: scorer, ("id",), (1,))
    result = evaluate(context, scorer, SETTINGS, truth=random_truth(context), ablation=plan)
    assert result["ablation"]["parts"]["id"]["substitute"]["true_cold"]["verdict"] == "no difference"


def test_an_ablation_without_seeds_is_refused() -> None:
    with pytest.raises(InputError, match="at least one seed"):
        AblationPlan(lambda without, seed: pytest.fail("trained"), (), ())
