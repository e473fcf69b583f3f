from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import relation_protocol, training_degree
from mmsc_cli.evaluate.rank import by_degree, rank_catalogue, summarise_slice


def _bins(context: EvaluationContext, scorer: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    protocol = relation_protocol("substitute", context.pairs, context.item_split)
    ranking = rank_catalogue(scorer, protocol, name="mmsc")
    degree = training_degree("substitute", context.pairs, context.n_items)
    return by_degree(ranking, degree, 1, 100), summarise_slice(ranking, "all", 1, 100)


def test_queries_fall_into_the_bin_of_their_training_pairs(
    hand_context: EvaluationContext, fixed_scorer: Callable[..., Any]
) -> None:
    bins, _ = _bins(hand_context, fixed_scorer(np.zeros((13, 13), np.float32)))
    # Queries 5 and 6 have no training substitute, item 0 has three.
    assert {(found["low"], found["high"]): found["queries"] for found in bins} == {
        (0, 0): 2,
        (1, 2): 0,
        (3, 5): 1,
        (6, 10): 0,
        (11, 20): 0,
        (21, 50): 0,
        (51, None): 0,
    }
    empty = bins[1]
    assert empty["ndcg@10"] is None
    assert empty["ndcg@10_ci"] is None


def test_the_bins_together_are_the_slice(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    scorer = fixed_scorer(np.random.default_rng(1).random((120, 120)).astype(np.float32))
    bins, whole = _bins(random_context(), scorer)
    filled = [found for found in bins if found["queries"]]
    assert len(filled) > 2
    assert sum(found["queries"] for found in filled) == whole["queries"]
    mean = sum(found["queries"] * found["ndcg@10"] for found in filled) / whole["queries"]
    assert mean == pytest.approx(whole["ndcg@10"])
    for found in filled:
        assert found["ndcg@10_ci"][0] <= found["ndcg@10"] <= found["ndcg@10_ci"][1]
