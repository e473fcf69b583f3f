"""What each baseline says of the catalogue worked out by hand (see HAND_PAIRS in ../conftest.py)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmsc_cli.evaluate.baselines.registry import fit_baseline
from mmsc_cli.evaluate.context import EvaluationContext, Modality


def test_popularity_is_the_training_degree_in_the_relation(hand_context: EvaluationContext) -> None:
    scorer = fit_baseline("popularity", hand_context.for_fitting())
    assert scorer.scores("substitute", np.asarray([4]))[0].tolist() == [3, 2, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert scorer.scores("complement", np.asarray([4]))[0].tolist() == [2, 0, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0]


def test_category_comes_before_popularity(hand_context: EvaluationContext) -> None:
    category = [["beauty", "hair"]] * 5 + [["beauty", "nails"]] * 3 + [["toys", "hair"]] * 5
    scorer = fit_baseline("category-popularity", replace(hand_context, category=category).for_fitting())
    scores = scorer.scores("substitute", np.asarray([3]))[0]
    assert np.argsort(-scores, kind="stable").tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_common_neighbours_counts_shared_neighbours(hand_context: EvaluationContext) -> None:
    scorer = fit_baseline("common-neighbours", hand_context.for_fitting())
    assert scorer.scores("substitute", np.asarray([8]))[0].tolist() == [0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_resource_allocation_divides_by_the_degree_of_the_shared_neighbour(
    hand_context: EvaluationContext,
) -> None:
    scorer = fit_baseline("resource-allocation", hand_context.for_fitting())
    scores = scorer.scores("substitute", np.asarray([1]))[0]
    np.testing.assert_allclose(scores[[0, 2, 8]], [1 / 2, 1 / 3, 1 / 3])


def test_knn_transfer_gives_a_cold_item_the_neighbours_of_its_look_alike(
    hand_context: EvaluationContext,
) -> None:
    vectors = np.eye(13, dtype=np.float32)
    vectors[11] = vectors[12] = vectors[8]
    context = replace(hand_context, text=Modality(vectors, np.ones(13, np.bool_)))
    scorer = fit_baseline("knn-transfer", context.for_fitting())
    substitutes = scorer.scores("substitute", np.asarray([11]))[0]
    assert np.flatnonzero(substitutes).tolist() == [0, 8], "neighbour of 8, and 8 itself; never the cold look-alike"
    assert np.flatnonzero(scorer.scores("complement", np.asarray([11]))[0]).tolist() == [5, 8]
