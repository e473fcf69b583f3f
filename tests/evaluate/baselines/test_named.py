from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.baselines.baseline import Baseline, FittingTask, ScoreRows
from mmsc_cli.evaluate.baselines.named import BASELINES, applicable, fit_baseline, parse_baselines
from mmsc_cli.evaluate.baselines.tuning import BaselineScorer
from mmsc_cli.evaluate.context import EvaluationContext, Modality
from mmsc_cli.evaluate.settings import DEFAULT_BASELINES
from mmsc_cli.evaluate.stage import read_context
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.workspace.workspace import Workspace

# What each must at least reach on the planted catalogue: popularity knows nothing of it.
ABOVE_POPULARITY = 0.05
# These answer with what is alike (ALS, as it has a factor for every item here), not with what goes along with it.
ANSWER_WITH_LOOK_ALIKES = (
    "category-popularity",
    "text-knn",
    "image-knn",
    "joint-knn",
    "common-neighbours",
    "resource-allocation",
    "als",
)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_scores_the_whole_catalogue_and_the_same_again(
    name: str, planted: EvaluationContext, fit: Callable[..., ScoreRows]
) -> None:
    queries = np.asarray([3, 12, 13, 50])
    first, second = (fit(name, planted, "complement", None)(queries) for _ in range(2))
    assert first.shape == (4, planted.n_items)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "popularity"])
def test_every_baseline_finds_planted_partners_better_than_popularity(
    name: str, planted: EvaluationContext, fit: Callable[..., ScoreRows], test_ndcg: Callable[..., float]
) -> None:
    for relation in RELATIONS[:1] if name in ANSWER_WITH_LOOK_ALIKES else RELATIONS:
        popularity = test_ndcg(fit("popularity", planted, relation, None), planted, relation)
        assert test_ndcg(fit(name, planted, relation, None), planted, relation) > popularity + ABOVE_POPULARITY


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_is_fitted_on_a_held_out_pair(
    name: str,
    planted: EvaluationContext,
    fit: Callable[..., ScoreRows],
    with_other_pairs: Callable[..., EvaluationContext],
) -> None:
    # A network's validation figure says when to stop; a test pair says nothing at all.
    held_out = ["test"] if "hide" in inspect.signature(BASELINES[name].fit).parameters else ["valid", "test"]
    queries = np.arange(0, planted.n_items, 7)
    first = fit(name, planted, "substitute", None)(queries)
    np.testing.assert_array_equal(first, fit(name, with_other_pairs(planted, *held_out), "substitute", None)(queries))


def test_fitting_on_a_held_out_pair_is_refused(hand_context: EvaluationContext) -> None:
    fitting = hand_context.for_fitting("train")
    assert set(fitting.pairs.split) == {"train"}
    with pytest.raises(ValueError, match="held-out pairs"):
        replace(fitting, pairs=hand_context.pairs)


@pytest.mark.parametrize("name", BASELINES)
def test_grids_are_small_and_speak_the_language_of_their_fit(name: str) -> None:
    baseline = BASELINES[name]
    known = [key for key in inspect.signature(baseline.fit).parameters if key != "task"]
    assert len(baseline.grid) <= 14
    for setting in baseline.grid:
        assert sorted(setting) == sorted(known)
    assert bool(baseline.grid) == bool(known)


def test_what_is_chosen_on_the_demo_is_not_at_the_edge_of_the_grid_of_knn_transfer(trained: Workspace) -> None:
    """Where the best point has none beyond it, a better one may lie there, and the model's gain is flattered."""
    scorer = BaselineScorer("knn-transfer", BASELINES["knn-transfer"], read_context(trained, 1))
    for relation in RELATIONS:
        scorer.fit(relation)
        chosen = scorer.tuning[relation]["setting"]
        for name in ("self_weight", "sharpness"):
            values = [setting[name] for setting in BASELINES["knn-transfer"].grid]
            assert min(values) < chosen[name] < max(values), (relation, chosen)


@pytest.mark.parametrize(
    "name", ["text-knn", "image-knn", "joint-knn", "knn-transfer", "graphsage", "category-popularity"]
)
def test_cold_items_are_answered(
    name: str, planted: EvaluationContext, fit: Callable[..., ScoreRows], test_ndcg: Callable[..., float]
) -> None:
    assert BASELINES[name].answers_cold
    popularity = test_ndcg(fit("popularity", planted, "substitute", None), planted, "substitute", "cold")
    assert test_ndcg(fit(name, planted, "substitute", None), planted, "substitute", "cold") > 1.3 * popularity


def test_names_are_read() -> None:
    assert parse_baselines("none") == ()
    assert parse_baselines("all") == tuple(BASELINES)
    assert parse_baselines(" ease, popularity") == ("popularity", "ease")
    assert parse_baselines(["popularity"]) == ("popularity",)


@pytest.mark.parametrize("text", ["popularty", "ease,lightgbm", "all,nope", ""])
def test_an_unknown_name_is_answered_with_the_list(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_baselines(text)
    for name in BASELINES:
        assert name in (error.value.hint or "")


def test_all_leaves_out_what_cannot_be_fitted_but_a_name_is_taken_at_its_word(
    random_context: Callable[..., EvaluationContext],
) -> None:
    fitting = random_context().for_fitting("train")
    names, skipped = applicable("all", fitting)
    assert "image-knn" not in names
    assert skipped == {
        "image-knn": "there are no image embeddings",
        "joint-knn": "there are no joint embeddings",
    }
    with pytest.raises(InputError, match="no image embeddings"):
        applicable("image-knn", fitting)


def test_the_default_set_leaves_out_what_needs_texts(random_context: Callable[..., EvaluationContext]) -> None:
    fitting = replace(random_context(), text=None).for_fitting("train")
    names, skipped = applicable(list(DEFAULT_BASELINES), fitting)
    assert set(names) | set(skipped) == set(DEFAULT_BASELINES)
    assert set(skipped) == {"knn-transfer"}
    with pytest.raises(InputError, match="no text embeddings"):
        applicable("knn-transfer", fitting)


def test_an_item_without_the_modality_scores_lowest(random_context: Callable[..., EvaluationContext]) -> None:
    context = random_context()
    assert context.text is not None
    present = np.ones(120, np.bool_)
    present[[4, 9]] = False
    blind = replace(context, text=Modality(context.text.vectors, present))
    scores = fit_baseline("text-knn", blind).scores("substitute", np.asarray([0, 4]))
    others = np.delete(scores[0], [4, 9])
    assert scores[0, [4, 9]].max() < others.min()
    assert len(np.unique(scores[1])) == 1, "a query without text knows nothing"


def test_each_relation_is_tuned_once_and_its_time_counted(
    planted: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[tuple[str, int]] = []

    def fit_fixed(task: FittingTask, *, number: int) -> ScoreRows:
        fitted.append((task.relation, number))
        return lambda queries: np.zeros((len(queries), task.context.n_items), np.float32)

    monkeypatch.setitem(BASELINES, "fixed", Baseline(fit_fixed, ({"number": 1}, {"number": 2})))
    scorer = fit_baseline("fixed", planted)
    for relation in RELATIONS:
        for _ in range(2):
            scorer.scores(relation, np.asarray([5]))
    assert fitted == [(relation, number) for relation in RELATIONS for number in (1, 2, 1)]
    assert list(scorer.tuning) == list(RELATIONS)
    assert scorer.fit_seconds == pytest.approx(sum(part["seconds"] for part in scorer.tuning.values()))


def test_naming_the_baselines_imports_no_network() -> None:
    program = "import sys, mmsc_cli.evaluate.baselines.named; print(*{'torch', 'torch_geometric'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
