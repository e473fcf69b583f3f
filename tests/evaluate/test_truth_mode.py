"""Truth mode, on the catalogue of conftest.py with a truth worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.evaluate import evaluate
from mmsc_cli.evaluate.protocol import RelationProtocol, relation_protocol
from mmsc_cli.evaluate.rank import rank_catalogue
from mmsc_cli.evaluate.settings import EvaluateSettings
from mmsc_cli.evaluate.truth_mode import KnownTruth, judge_reliability, with_truth
from mmsc_cli.tables.edges import Edges
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.tables.truth import Truth

# (a, b, is it a substitute; else a complement)
TRUE_PAIRS = [
    (0, 1, True),  # a training pair
    (0, 4, True),  # a validation pair
    (0, 5, True),  # a test pair that is true; (0, 6) is a test pair that is not
    (0, 9, True),  # never seen
    (0, 12, True),  # never seen, to a cold item
    (0, 7, False),
    (11, 12, True),  # between cold items
]

SETTINGS = EvaluateSettings(baselines="none", negatives=5, bootstrap=20)


@pytest.fixture
def hand_truth() -> Truth:
    a, b, substitute = (np.asarray(column) for column in zip(*TRUE_PAIRS, strict=True))
    return Truth(a.astype(np.int32), b.astype(np.int32), substitute, ~substitute, np.where(substitute, "", "a_to_b"))


def _protocol(context: EvaluationContext, known: KnownTruth) -> RelationProtocol:
    plain = relation_protocol("substitute", context.pairs, context.item_split)
    return with_truth(plain, known, context.item_split)


def _labels(*pairs: tuple[int, int]) -> Labels:
    a, b = (np.asarray(column, np.int32) for column in zip(*pairs, strict=True))
    ones, words = np.ones(len(a), np.float32), np.full(len(a), "x")
    return Labels(a, b, ones, 0 * ones, 0 * ones, words, words, words, ones, ones)


def test_true_partners_are_right_unless_they_were_trained_or_validated_on(
    hand_context: EvaluationContext, hand_truth: Truth
) -> None:
    protocol = _protocol(hand_context, KnownTruth(hand_truth))
    judged = protocol.judgements["true"]
    assert judged.positives[[0]].indices.tolist() == [5, 9, 12]
    assert sorted(judged.masked[[0]].indices) == [0, 1, 2, 3, 4, 8]
    assert 6 not in judged.masked[[0]].indices, "a test pair that is not true is an error like any other"
    assert protocol.slices["true_warm"].queries.tolist() == [0, 5, 9]
    assert protocol.slices["true_cold"].queries.tolist() == [11, 12]
    assert "true_warm_unasked" not in protocol.slices
    assert protocol.slices["all"].queries.tolist() == [0, 5, 6], "the contract's slices stay as they are"


def test_what_an_annotator_was_asked_about_is_masked_in_slices_of_its_own(
    hand_context: EvaluationContext, hand_truth: Truth
) -> None:
    protocol = _protocol(hand_context, KnownTruth(hand_truth, labels=_labels((0, 9), (2, 7))))
    assert protocol.judgements["true"].positives[[0]].indices.tolist() == [5, 9, 12]
    unasked = protocol.judgements["true_unasked"]
    assert unasked.positives[[0]].indices.tolist() == [5, 12]
    assert 9 in unasked.masked[[0]].indices
    assert protocol.slices["true_warm_unasked"].queries.tolist() == [0, 5]


def test_knowing_the_truth_is_worth_everything_and_knowing_the_seen_pairs_nothing(
    random_context: Callable[..., EvaluationContext],
    random_truth: Callable[..., KnownTruth],
    fixed_scorer: Callable[..., Any],
) -> None:
    context = random_context()
    known = random_truth(context)
    knowing = {relation: np.zeros((120, 120), np.float32) for relation in RELATIONS}
    for relation, scores in knowing.items():
        true = known.truth.holds(relation)
        a, b = known.truth.a[true], known.truth.b[true]
        scores[a, b] = scores[b, a] = 1
    seen = context.pairs.of("train", "valid")
    repeating = np.zeros((120, 120), np.float32)
    repeating[seen.a, seen.b] = repeating[seen.b, seen.a] = 1
    for scorer, expected in ((fixed_scorer(knowing), 1.0), (fixed_scorer(repeating), 0.0)):
        result = evaluate(context, scorer, SETTINGS, truth=known)
        json.dumps(result, allow_nan=False)
        for relation in RELATIONS:
            block = result["truth"]["models"]["mmsc"][relation]
            assert set(block) == {"true_warm", "true_cold"} == set(result["truth"]["slices"])
            assert [part["ndcg@10"] for part in block.values()] == pytest.approx([expected] * 2)
            assert block["true_warm"]["queries"] > 50
            assert block["true_cold"]["queries"] > 5


def test_the_protocol_itself_does_not_change_when_the_truth_is_known(
    random_context: Callable[..., EvaluationContext],
    random_truth: Callable[..., KnownTruth],
    fixed_scorer: Callable[..., Any],
) -> None:
    context = random_context()
    scorer = fixed_scorer(np.random.default_rng(1).random((120, 120)).astype(np.float32))
    results = [evaluate(context, scorer, SETTINGS, truth=truth) for truth in (None, random_truth(context))]
    for result in results:
        del result["models"]["mmsc"]["seconds"]
    assert "truth" not in results[0]
    del results[1]["truth"]
    assert results[0] == results[1]


def test_reliabilities_are_judged_pair_by_pair(hand_truth: Truth) -> None:
    pairs = [(0, 1), (0, 5), (0, 7), (0, 6), (2, 3), (3, 4)]
    a, b = (np.asarray(column, np.int32) for column in zip(*pairs, strict=True))
    # Two true substitutes, a complement seen as one, two of noise; the last was never seen as a substitute.
    believed = np.asarray([0.9, 0.4, 0.6, 0.4, 0.1, np.nan], np.float32)
    strength = np.asarray([1, 1, 1, 1, 2, 0], np.float32)
    edges = Edges(
        a, b, {"substitute": strength, "complement": 0 * strength}, {"substitute": believed, "complement": believed}
    )
    found = judge_reliability(edges, hand_truth, "substitute", 13)
    assert found["auroc"] == pytest.approx((1 + 1 + 0.5 + 1) / 4), "one of four comparisons is a tie"
    assert found["auroc_strength"] == pytest.approx((0.5 + 0 + 0.5 + 0) / 4)
    assert found["auroc_rest"] == pytest.approx(roc_auc_score([1, 1, 0, 0, 0], believed[:5]))
    assert found["pairs"] == {"true": 2, "other_relation": 1, "noise": 2}
    assert found["mean_reliability"] == pytest.approx({"true": 0.65, "other_relation": 0.6, "noise": 0.25})
    unseen = judge_reliability(edges, hand_truth, "complement", 13)
    assert unseen["auroc"] is None
    assert unseen["mean_reliability"]["noise"] is None


def test_a_model_without_reliabilities_says_so(
    random_context: Callable[..., EvaluationContext],
    random_truth: Callable[..., KnownTruth],
    fixed_scorer: Callable[..., Any],
) -> None:
    context = random_context()
    known = replace(random_truth(context), edges=None)
    scorer = fixed_scorer(np.zeros((120, 120), np.float32))
    block = evaluate(context, scorer, SETTINGS, truth=known)["truth"]
    assert block["reliability"] is None
    assert "without denoise" in block["reliability_missing"]


def test_a_truth_of_nothing_is_reported_as_empty(
    hand_context: EvaluationContext, fixed_scorer: Callable[..., Any]
) -> None:
    rows, never = np.empty(0, np.int32), np.empty(0, np.bool_)
    none = Truth(rows, rows, never, never, np.empty(0, np.str_))
    protocol = _protocol(hand_context, KnownTruth(none))
    ranking = rank_catalogue(fixed_scorer(np.zeros((13, 13), np.float32)), protocol, name="mmsc")
    assert len(ranking.of_slice("true_warm")) == 0
    assert len(ranking.of_slice("all")) == 3
