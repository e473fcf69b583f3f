"""The slices on a catalogue worked out by hand (see HAND_PAIRS in conftest.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import JudgementName, RelationProtocol, check_split, relation_protocol
from mmsc_cli.tables.relations import RELATIONS, Relation


def _protocol(context: EvaluationContext, relation: Relation) -> RelationProtocol:
    return relation_protocol(relation, context.pairs, context.item_split)


def _row(protocol: RelationProtocol, judgement: JudgementName, query: int) -> tuple[list[int], list[int]]:
    judged = protocol.judgements[judgement]
    return sorted(judged.positives[[query]].indices), sorted(judged.masked[[query]].indices)


def test_plain_takes_every_test_pair_of_the_relation_between_warm_items(
    hand_context: EvaluationContext,
) -> None:
    positives, masked = _row(_protocol(hand_context, "substitute"), "plain", 0)
    assert positives == [5, 6]
    assert masked == [0, 1, 2, 3, 4, 8], "itself, and training and validation pairs of either relation"


def test_clean_masks_ambiguous_test_pairs_and_keeps_the_other_relation_as_errors(
    hand_context: EvaluationContext,
) -> None:
    positives, masked = _row(_protocol(hand_context, "substitute"), "clean", 0)
    assert positives == [5]
    assert masked == [0, 1, 2, 3, 4, 6, 8, 11]
    assert 7 not in masked, "a complement offered as a substitute is an error"
    positives, masked = _row(_protocol(hand_context, "complement"), "clean", 0)
    assert positives == [7]
    assert 5 not in masked


def test_slices_have_the_queries_of_the_contract(hand_context: EvaluationContext) -> None:
    substitute = _protocol(hand_context, "substitute")
    assert {name: part.queries.tolist() for name, part in substitute.slices.items()} == {
        "all": [0, 5, 6],
        "clean": [0, 5],
        "tail": [5, 6],  # item 0 has 3 training substitutes
        "cold": [11],
        "cold_clean": [11],
    }
    complement = _protocol(hand_context, "complement")
    assert {name: part.queries.tolist() for name, part in complement.slices.items()} == {
        "all": [0, 6, 7],
        "clean": [0, 7],
        "tail": [0, 6, 7],  # item 0 has 2 training complements
        "cold": [11],
        "cold_clean": [],
    }


def test_cold_queries_find_warm_partners_only(hand_context: EvaluationContext) -> None:
    protocol = _protocol(hand_context, "substitute")
    assert _row(protocol, "plain", 11) == ([0, 2], [11])
    assert _row(protocol, "clean", 11) == ([2], [0, 11])
    assert 12 not in protocol.queries
    assert 10 not in protocol.queries


@pytest.mark.parametrize("relation", RELATIONS)
def test_nothing_is_both_right_and_masked(random_context: Callable[..., EvaluationContext], relation: Relation) -> None:
    for judgement in _protocol(random_context(), relation).judgements.values():
        assert not judgement.positives.multiply(judgement.masked).sum()


def test_a_sound_hold_out_passes(random_context: Callable[..., EvaluationContext]) -> None:
    context = random_context()
    check_split(context.pairs, context.item_split)


def test_a_test_pair_turned_round_in_training_is_a_leak(hand_context: EvaluationContext) -> None:
    pairs = hand_context.pairs
    a, b = pairs.a.copy(), pairs.b.copy()
    a[0], b[0] = 5, 0  # the test pair (0, 5) again, as training pair (5, 0)
    with pytest.raises(WorkspaceError, match="twice"):
        check_split(replace(pairs, a=a, b=b), hand_context.item_split)


@pytest.mark.parametrize(
    ("a", "b", "split", "message"),
    [(0, 11, "train", "training pairs"), (3, 10, "test", "wrong split"), (0, 11, "valid", "wrong split")],
)
def test_a_cold_pair_in_the_wrong_split_is_a_leak(
    hand_context: EvaluationContext, a: int, b: int, split: str, message: str
) -> None:
    pairs = hand_context.pairs
    splits = np.where((pairs.a == a) & (pairs.b == b), split, pairs.split)
    with pytest.raises(WorkspaceError, match=message):
        check_split(replace(pairs, split=splits), hand_context.item_split)


def test_pairs_of_unknown_items_are_refused(hand_context: EvaluationContext) -> None:
    with pytest.raises(WorkspaceError, match="item row 12 of 12"):
        EvaluationContext(hand_context.pairs, np.repeat("warm", 12), [[]] * 12)
