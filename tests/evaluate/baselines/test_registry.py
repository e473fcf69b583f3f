from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.baselines.registry import BASELINES, applicable, fit_baseline, parse_baselines
from mmsc_cli.evaluate.context import EvaluationContext, FittingContext, Modality
from mmsc_cli.pairs import Pairs
from mmsc_cli.relations import RELATIONS


def _with_images(context: EvaluationContext) -> EvaluationContext:
    return replace(context, image=context.text)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_scores_the_whole_catalogue(name: str, random_context: Callable[..., EvaluationContext]) -> None:
    scorer = fit_baseline(name, _with_images(random_context()).for_fitting())
    queries = np.asarray([3, 8, 50])
    for relation in (*RELATIONS, *RELATIONS):
        scores = scorer.scores(relation, queries)
        assert scores.shape == (3, 120)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_sees_a_held_out_pair(name: str, random_context: Callable[..., EvaluationContext]) -> None:
    context = _with_images(random_context())
    pairs = context.pairs
    # The same training pairs, with every held-out pair replaced by another one.
    shifted = np.where(pairs.split == "train", pairs.b, (pairs.b + 7) % 120).astype(np.int32)
    other = replace(context, pairs=replace(pairs, b=shifted))
    queries = np.arange(0, 120, 7)
    for relation in RELATIONS:
        first, second = (fit_baseline(name, each.for_fitting()).scores(relation, queries) for each in (context, other))
        np.testing.assert_array_equal(first, second)


def test_fitting_on_a_held_out_pair_is_refused(hand_context: EvaluationContext) -> None:
    fitting = hand_context.for_fitting()
    assert set(fitting.pairs.split) == {"train"}
    with pytest.raises(ValueError, match="held-out pairs"):
        replace(fitting, pairs=hand_context.pairs)


def test_names_are_read() -> None:
    assert parse_baselines("none").names == ()
    assert parse_baselines("all").names == tuple(BASELINES)
    assert parse_baselines(" ease, popularity").names == ("popularity", "ease")
    assert parse_baselines(["popularity"]).names == ("popularity",)


@pytest.mark.parametrize("text", ["popularty", "ease,lightgbm", "all,nope", ""])
def test_an_unknown_name_is_answered_with_the_list(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_baselines(text)
    assert "resource-allocation" in (error.value.hint or "")


def test_all_leaves_out_what_cannot_be_fitted_but_a_name_is_taken_at_its_word(
    random_context: Callable[..., EvaluationContext],
) -> None:
    fitting = random_context().for_fitting()
    names, skipped = applicable(parse_baselines("all"), fitting)
    assert "image-knn" not in names
    assert skipped == {"image-knn": "there are no image embeddings"}
    with pytest.raises(InputError, match="no image embeddings"):
        applicable(parse_baselines("image-knn"), fitting)


def test_ease_is_refused_for_a_large_catalogue(pair_table: Callable[..., Pairs]) -> None:
    warm = np.repeat("warm", 30_001)
    fitting = FittingContext(pair_table([(0, 1, 1.0, 1.0, "train")]), warm, [[]] * 30_001, None, None, seed=1)
    with pytest.raises(InputError, match="at most 30,000 items, not 30,001"):
        fit_baseline("ease", fitting)


def test_an_item_without_the_modality_scores_lowest(random_context: Callable[..., EvaluationContext]) -> None:
    context = random_context()
    assert context.text is not None
    present = np.ones(120, np.bool_)
    present[[4, 9]] = False
    blind = replace(context, text=Modality(context.text.vectors, present))
    scores = fit_baseline("text-knn", blind.for_fitting()).scores("substitute", np.asarray([0, 4]))
    others = np.delete(scores[0], [4, 9])
    assert scores[0, [4, 9]].max() < others.min()
    assert len(np.unique(scores[1])) == 1, "a query without text knows nothing"
