"""What each baseline says of the catalogue worked out by hand (see HAND_PAIRS in ../conftest.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mmsc_cli.evaluate.baselines.baseline import ScoreRows
from mmsc_cli.evaluate.context import EvaluationContext, Modality
from mmsc_cli.tables.relations import RELATIONS

Fit = Callable[..., ScoreRows]


def test_popularity_is_the_training_degree_in_the_relation(hand_context: EvaluationContext, fit: Fit) -> None:
    substitute, complement = (
        fit("popularity", hand_context, relation, None)(np.asarray([4]))[0].tolist() for relation in RELATIONS
    )
    assert substitute == [3, 2, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert complement == [2, 0, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0]


def test_category_comes_before_popularity(hand_context: EvaluationContext, fit: Fit) -> None:
    category = [["beauty", "hair"]] * 5 + [["beauty", "nails"]] * 3 + [["toys", "hair"]] * 5
    rows = fit("category-popularity", replace(hand_context, category=category), "substitute", None)
    scores = rows(np.asarray([3]))[0]
    assert np.argsort(-scores, kind="stable").tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_common_neighbours_counts_shared_neighbours(hand_context: EvaluationContext, fit: Fit) -> None:
    scores = fit("common-neighbours", hand_context, "substitute", None)(np.asarray([8]))
    assert scores[0].tolist() == [0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_resource_allocation_divides_by_the_degree_of_the_shared_neighbour(
    hand_context: EvaluationContext, fit: Fit
) -> None:
    scores = fit("resource-allocation", hand_context, "substitute", {"strengths": False})(np.asarray([1]))[0]
    np.testing.assert_allclose(scores[[0, 2, 8]], [1 / 2, 1 / 3, 1 / 3])


def test_knn_transfer_gives_a_cold_item_the_neighbours_of_its_look_alike(
    hand_context: EvaluationContext, fit: Fit
) -> None:
    vectors = np.eye(13, dtype=np.float32)
    vectors[11] = vectors[12] = vectors[8]
    context = replace(hand_context, text=Modality(vectors, np.ones(13, np.bool_)))
    found = [
        np.flatnonzero(fit("knn-transfer", context, relation, None)(np.asarray([11]))[0]).tolist()
        for relation in RELATIONS
    ]
    assert found[0] == [0, 8], "neighbour of 8, and 8 itself; never the cold look-alike"
    assert found[1] == [5, 8]


def test_knn_transfer_leaves_the_look_alike_itself_out_if_told_so(hand_context: EvaluationContext, fit: Fit) -> None:
    vectors = np.eye(13, dtype=np.float32)
    vectors[11] = vectors[8]
    context = replace(hand_context, text=Modality(vectors, np.ones(13, np.bool_)))
    setting = {"nearest": 50, "self_weight": 0.0, "sharpness": 1}
    assert np.flatnonzero(fit("knn-transfer", context, "substitute", setting)(np.asarray([11]))[0]).tolist() == [0]
