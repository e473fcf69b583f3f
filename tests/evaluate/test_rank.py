from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate import rank as ranking
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import SLICES, relation_protocol
from mmsc_cli.evaluate.rank import rank_catalogue, summarise_slice
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.tables.relations import Relation


def _slices(context: EvaluationContext, scorer: Scorer, relation: Relation) -> dict[str, dict[str, Any]]:
    protocol = relation_protocol(relation, context.pairs, context.item_split)
    ranked = rank_catalogue(scorer, protocol, name="mmsc")
    return {name: summarise_slice(ranked, name, 1, 200) for name in SLICES}


def test_hand_computed_slices(hand_context: EvaluationContext, fixed_scorer: Callable[..., Any]) -> None:
    # Every query ranks the items 7, 6, 5, ... 0 and then the cold ones.
    order = np.asarray([1, 2, 3, 4, 5, 6, 7, 8, -1, -1, -2, -2, -2], np.float32)
    slices = _slices(hand_context, fixed_scorer(np.tile(order, (13, 1))), "substitute")
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    # 0: 7 wrong, 6 and 5 right. 5 and 6: six wrong ones (themselves masked), then 0.
    query_0, query_5 = (second + third) / (1 + second), 1 / math.log2(8)
    assert slices["all"]["queries"] == 3
    assert slices["all"]["ndcg@10"] == pytest.approx((query_0 + 2 * query_5) / 3)
    assert slices["all"]["mrr@10"] == pytest.approx((1 / 2 + 1 / 7 + 1 / 7) / 3)
    assert slices["tail"]["ndcg@10"] == pytest.approx(query_5)
    # clean, 0: 7 is still wrong, 6 is masked, 5 right at rank 2.
    assert slices["clean"]["ndcg@10"] == pytest.approx((second + query_5) / 2)
    # cold, 11: 7, 6, 5, 4, 3 wrong, 2 right at 6, 1 wrong, 0 right at 8; clean: 0 masked.
    cold = (1 / math.log2(7) + 1 / math.log2(9)) / (1 + second)
    assert slices["cold"]["ndcg@10"] == pytest.approx(cold)
    assert slices["cold_clean"]["ndcg@10"] == pytest.approx(1 / math.log2(7))
    assert slices["cold"]["recall@10"] == 1


def test_an_empty_slice_has_no_figures(hand_context: EvaluationContext, fixed_scorer: Callable[..., Any]) -> None:
    empty = _slices(hand_context, fixed_scorer(np.zeros((13, 13), np.float32)), "complement")["cold_clean"]
    assert empty == {
        "hit@10": None,
        "ndcg@10": None,
        "recall@10": None,
        "mrr@10": None,
        "queries": 0,
        "ndcg@10_ci": None,
    }
    json.dumps(empty, allow_nan=False)


def test_every_query_is_scored_once(hand_context: EvaluationContext, fixed_scorer: Callable[..., Any]) -> None:
    scorer = fixed_scorer(np.zeros((13, 13), np.float32))
    _slices(hand_context, scorer, "substitute")
    assert sorted(scorer.asked) == [0, 5, 6, 11]


def test_chunks_do_not_change_figures(
    random_context: Callable[..., EvaluationContext],
    fixed_scorer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = random_context()
    scorer = fixed_scorer(np.random.default_rng(1).integers(0, 9, (120, 120)).astype(np.float32))
    whole = _slices(context, scorer, "complement")
    monkeypatch.setattr(ranking, "SCORE_CELLS", 700)
    assert _slices(context, scorer, "complement") == whole


def test_knowing_the_training_and_validation_pairs_by_heart_is_worth_nothing(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = random_context()
    seen = context.pairs.of("train", "valid")
    scores = np.random.default_rng(1).random((120, 120)).astype(np.float32)
    memorised = scores.copy()
    memorised[seen.a, seen.b] = memorised[seen.b, seen.a] = 99
    np.fill_diagonal(memorised, 100)
    honest = _slices(context, fixed_scorer(scores), "substitute")
    assert _slices(context, fixed_scorer(memorised), "substitute") == honest


def test_unmasking_the_training_pairs_would_change_the_figures(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = random_context()
    protocol = relation_protocol("substitute", context.pairs, context.item_split)
    nothing = protocol.judgements["plain"].masked * False
    nothing.eliminate_zeros()
    unmasked = replace(
        protocol,
        judgements={name: replace(part, masked=nothing) for name, part in protocol.judgements.items()},
    )
    seen = context.pairs.of("train", "valid")
    scores = np.random.default_rng(1).random((120, 120)).astype(np.float32)
    scores[seen.a, seen.b] = scores[seen.b, seen.a] = 99
    masked = rank_catalogue(fixed_scorer(scores), protocol, name="mmsc").of_slice("all")
    leaking = rank_catalogue(fixed_scorer(scores), unmasked, name="mmsc").of_slice("all")
    assert masked[:, 1].mean() > leaking[:, 1].mean() + 0.01


def test_nan_is_refused(hand_context: EvaluationContext, fixed_scorer: Callable[..., Any]) -> None:
    scores = np.zeros((13, 13), np.float32)
    scores[5, 3] = np.nan
    with pytest.raises(InputError, match="mmsc: the substitute scores contain NaN"):
        _slices(hand_context, fixed_scorer(scores), "substitute")


def test_scores_of_a_wrong_shape_are_refused(hand_context: EvaluationContext, fixed_scorer: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="shape"):
        _slices(hand_context, fixed_scorer(np.zeros((13, 7), np.float32)), "substitute")
