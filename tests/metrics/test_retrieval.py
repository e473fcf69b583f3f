from __future__ import annotations

import math
from typing import Any

import ir_measures
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn.metrics import ndcg_score

from mmsc_cli.arrays.top import top_values
from mmsc_cli.metrics.bootstrap import bootstrap_interval, bootstrap_interval_over_seeds
from mmsc_cli.metrics.retrieval import catalogue_figures, sampled_figures


def _figures(
    scores: NDArray[np.float32], positives: NDArray[np.bool_], masked: NDArray[np.bool_]
) -> NDArray[np.float64]:
    return catalogue_figures(scores.copy(), sparse.csr_array(positives), sparse.csr_array(masked))


def _slow_reference(
    scores: NDArray[np.float32], positives: NDArray[np.bool_], masked: NDArray[np.bool_]
) -> list[float]:
    """The definitions, item by item: sort, wrong ones first among equals, walk down ten places."""
    ranked = sorted(
        (item for item in range(len(scores)) if not masked[item]),
        key=lambda item: (-scores[item], positives[item]),
    )
    gains = [bool(positives[item]) for item in ranked[:10]]
    dcg = sum(1 / math.log2(place + 2) for place, gain in enumerate(gains) if gain)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(10, int(positives.sum()))))
    first = gains.index(True) + 1 if True in gains else math.inf
    return [float(any(gains)), dcg / ideal, sum(gains) / int(positives.sum()), 1 / first]


def _random_case(
    generator: np.random.Generator, items: int, levels: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    scores = generator.integers(0, levels, (40, items)).astype(np.float32)
    scores[generator.random(scores.shape) < 0.02] = -np.inf
    positives = generator.random(scores.shape) < generator.choice([0.02, 0.3], (40, 1))
    positives[np.arange(40), generator.integers(0, items, 40)] = True
    return scores, positives, (generator.random(scores.shape) < 0.2) & ~positives


@pytest.mark.parametrize("items", [4, 15, 100, 1_500])
@pytest.mark.parametrize("levels", [1, 5, 50, 10**6])
def test_figures_agree_with_a_slow_reference(items: int, levels: int) -> None:
    scores, positives, masked = _random_case(np.random.default_rng(items + levels), items, levels)
    expected = [_slow_reference(*row) for row in zip(scores, positives, masked, strict=True)]
    np.testing.assert_allclose(_figures(scores, positives, masked), expected, rtol=1e-12)


def _by_ir_measures(scores: NDArray[np.float32], positives: NDArray[np.bool_]) -> list[list[float]]:
    """Hit, NDCG, Recall and MRR of each query by trec_eval, which breaks ties by name."""
    names = [str(item) for item in range(scores.shape[1])]
    relevant = {str(query): {names[item]: 1 for item in np.flatnonzero(row)} for query, row in enumerate(positives)}
    run = {str(query): dict(zip(names, row.tolist(), strict=True)) for query, row in enumerate(scores)}
    measures = [ir_measures.Success @ 10, ir_measures.nDCG @ 10, ir_measures.R @ 10, ir_measures.RR @ 10]
    found: dict[str, dict[Any, float]] = {query: {} for query in run}
    for figure in ir_measures.iter_calc(measures, relevant, run):
        found[figure.query_id][figure.measure] = figure.value
    return [[found[str(query)][measure] for measure in measures] for query in range(len(scores))]


@pytest.mark.parametrize("levels", [2, 6, 40])
def test_figures_agree_with_ir_measures_on_ties_broken_against_the_model(levels: int) -> None:
    generator = np.random.default_rng(levels)
    scores = generator.integers(0, levels, (50, 120)).astype(np.float32)
    positives = generator.random(scores.shape) < generator.choice([0.02, 0.3], (50, 1))
    positives[np.arange(50), generator.integers(0, 120, 50)] = True
    # Whole levels apart, half a level moves every wrong item ahead of the right ones it is tied with.
    broken = np.where(positives, scores, scores + 0.5)
    figures = _figures(scores, positives, np.zeros_like(positives))
    np.testing.assert_allclose(figures, _by_ir_measures(broken, positives), rtol=1e-6)
    assert not np.allclose(figures, _by_ir_measures(scores, positives), rtol=1e-6), "there must be ties that matter"


@pytest.mark.parametrize("levels", [2, 6, 40])
def test_sampled_figures_agree_with_ir_measures_on_ties_broken_against_the_model(levels: int) -> None:
    generator = np.random.default_rng(levels)
    positive = generator.integers(0, levels, 60).astype(np.float32)
    negatives = generator.integers(0, levels, (60, 100)).astype(np.float32)
    run = np.column_stack([positive, negatives + 0.5])
    expected = _by_ir_measures(run, np.arange(101) == np.zeros((60, 1)))
    np.testing.assert_allclose(sampled_figures(positive, negatives), expected, rtol=1e-6)


def test_ndcg_never_exceeds_that_of_scikit_learn_which_shares_out_ties() -> None:
    scores, positives, masked = _random_case(np.random.default_rng(8), 100, 30)
    scores = np.maximum(scores, 0)
    shared = ndcg_score(positives, scores, k=10)
    ours = _figures(scores, positives, np.zeros_like(masked))[:, 1].mean()
    assert 0 < ours < shared


def test_ndcg_agrees_with_scikit_learn_where_nothing_is_tied() -> None:
    generator = np.random.default_rng(3)
    scores = generator.permuted(np.tile(np.arange(300, dtype=np.float32), (40, 1)), axis=1)
    positives = generator.random(scores.shape) < 0.05
    positives[:, 0] = True
    masked = (generator.random(scores.shape) < 0.2) & ~positives
    # Scikit-learn knows no mask: what is masked goes to the end of the list.
    expected = [
        ndcg_score([right], [np.where(out, -1, row)], k=10)
        for right, row, out in zip(positives, scores, masked, strict=True)
    ]
    np.testing.assert_allclose(_figures(scores, positives, masked)[:, 1], expected, rtol=1e-12)


def test_hand_computed_figures() -> None:
    scores = np.asarray([[9, 8, 7, 6, 5]], np.float32)
    positives = np.asarray([[0, 1, 0, 1, 0]], np.bool_)
    masked = np.asarray([[1, 0, 0, 0, 0]], np.bool_)
    ndcg = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    np.testing.assert_allclose(_figures(scores, positives, masked), [[1, ndcg, 1, 1]])


@pytest.mark.parametrize("constant", [0.0, -np.inf, np.inf])
def test_a_scorer_that_says_nothing_gets_nothing(constant: float) -> None:
    scores = np.full((3, 50), constant, np.float32)
    positives = np.zeros((3, 50), np.bool_)
    positives[:, :4] = True
    assert not _figures(scores, positives, np.zeros_like(positives)).any()


def test_a_tied_positive_ranks_behind_all_wrong_items_of_its_score() -> None:
    scores = np.asarray([[2, 1, 1, 1, 0]], np.float32)
    positives = np.asarray([[0, 1, 0, 0, 0]], np.bool_)
    figures = _figures(scores, positives, np.zeros_like(positives))
    np.testing.assert_allclose(figures, [[1, 1 / math.log2(5), 1, 1 / 4]])


def test_masked_items_never_rank() -> None:
    generator = np.random.default_rng(5)
    scores, positives, masked = _random_case(generator, 200, 30)
    raised, lowered = scores.copy(), scores.copy()
    raised[masked], lowered[masked] = np.inf, -np.inf
    np.testing.assert_array_equal(_figures(raised, positives, masked), _figures(lowered, positives, masked))
    assert not np.array_equal(_figures(raised, positives, np.zeros_like(masked)), _figures(raised, positives, masked))


def test_more_than_ten_positives_can_reach_an_ndcg_of_one_but_not_full_recall() -> None:
    positives = np.zeros((1, 40), np.bool_)
    positives[:, :20] = True
    figures = _figures(positives.astype(np.float32), positives, np.zeros_like(positives))
    np.testing.assert_allclose(figures, [[1, 1, 0.5, 1]])


@pytest.mark.parametrize("columns", [3, 640, 641, 1_000])
def test_top_values_are_those_of_a_full_sort(columns: int) -> None:
    scores = np.random.default_rng(columns).integers(0, 99, (30, columns)).astype(np.float32)
    np.testing.assert_array_equal(np.sort(top_values(scores, 10)), np.sort(scores)[:, -10:])


@pytest.mark.parametrize("columns", [3, 5_000])
def test_no_query_has_no_figures(columns: int) -> None:
    nothing = np.zeros((0, columns), np.bool_)
    assert _figures(np.zeros((0, columns), np.float32), nothing, nothing).shape == (0, 4)


def test_sampled_figures_count_ties_and_unfilled_places_against_nobody_but_the_model() -> None:
    positive = np.asarray([3, 1], np.float32)
    negatives = np.asarray([[5, 3, 1], [0, np.nan, np.nan]], np.float32)
    figures = sampled_figures(positive, negatives)
    np.testing.assert_allclose(figures, [[1.0, 1 / math.log2(4), 1.0, 1 / 3], [1.0, 1.0, 1.0, 1.0]])


def test_bootstrap_interval_is_that_of_the_normal_approximation_for_many_queries() -> None:
    values = np.random.default_rng(1).random(5_000)
    interval = bootstrap_interval(values, np.random.default_rng(2), 4_000)
    assert interval is not None
    margin = 1.96 * values.std() / math.sqrt(len(values))
    np.testing.assert_allclose(interval, [values.mean() - margin, values.mean() + margin], atol=margin * 0.1)
    assert interval == bootstrap_interval(values, np.random.default_rng(2), 4_000)


def test_seeds_that_disagree_widen_the_interval_and_one_seed_does_not() -> None:
    generator = np.random.default_rng(1)
    values = generator.random((3, 2_000))
    shifted = values + np.asarray([[-0.1], [0.0], [0.1]])
    widths = []
    for table in (values[:1], values, shifted):
        interval = bootstrap_interval_over_seeds(table, np.random.default_rng(2))
        assert interval is not None
        assert interval[0] < table.mean() < interval[1]
        widths.append(interval[1] - interval[0])
    assert widths[1] < widths[0] < 0.04 < 0.1 < widths[2]
    alone = bootstrap_interval(values[0], np.random.default_rng(2))
    assert alone == pytest.approx(bootstrap_interval_over_seeds(values[:1], np.random.default_rng(2)))
    assert bootstrap_interval_over_seeds(np.empty((3, 0)), np.random.default_rng(0)) is None


def test_bootstrap_of_nothing_is_nothing() -> None:
    assert bootstrap_interval(np.empty(0), np.random.default_rng(0)) is None
