from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.ablation import AblationPlan, ablate
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import relation_protocol
from mmsc_cli.recipe.settings import Part
from mmsc_cli.relations import RELATIONS
from mmsc_cli.scoring import Scorer

# How well the constructed model knows the test pairs without a part.
KNOWLEDGE = {(): 0.5, ("llm",): 0.2, ("denoise",): 0.9, ("image",): 0.5}


def _ablate(
    context: EvaluationContext,
    fixed_scorer: Callable[..., Any],
    parts: tuple[Part, ...],
    seeds: tuple[int, ...],
) -> dict[str, Any]:
    test = context.pairs.of("test")

    def fit(without: tuple[Part, ...], seed: int) -> Scorer:
        generator = np.random.default_rng(seed)
        scores = generator.random((context.items, context.items)).astype(np.float32)
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


def test_an_ablation_without_seeds_is_refused() -> None:
    with pytest.raises(InputError, match="at least one seed"):
        AblationPlan(lambda without, seed: pytest.fail("trained"), (), ())
