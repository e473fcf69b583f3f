from __future__ import annotations

import pytest

from mmsc_cli.label.llm.opinion import Opinion, combine
from mmsc_cli.label.llm.prompt import OPTIONS, Question
from mmsc_cli.label.llm.reply import Answer


def opinion(first: tuple[float, ...], second: tuple[float, ...], masses: tuple[float, float] = (1, 1)) -> Opinion:
    """Both given as (substitute, second with first, first with second, neither)."""
    question = Question((), OPTIONS)
    return combine([question, question], [Answer(first, masses[0]), Answer(second, masses[1])])


def test_orders_are_averaged_and_their_distance_is_the_disagreement() -> None:
    found = opinion((0.6, 0.1, 0.1, 0.2), (0.2, 0.1, 0.1, 0.6), masses=(0.9, 0.5))
    assert (found.p_substitute, found.p_complement, found.p_neither) == pytest.approx((0.4, 0.2, 0.4))
    assert found.agreement == pytest.approx(0.6)
    assert found.label_mass == pytest.approx(0.7)
    assert found.direction == ""


def test_direction_of_a_complement_needs_both_orders_to_point_one_way() -> None:
    assert opinion((0, 1, 0, 0), (0, 0, 1, 0)).direction == "a_to_b"
    assert opinion((0, 0, 1, 0), (0, 1, 0, 0)).direction == "b_to_a"
    flipped = opinion((0, 1, 0, 0), (0, 1, 0, 0))
    assert flipped.direction == "both"
    assert flipped.agreement == 1


def test_opposite_answers_agree_in_nothing() -> None:
    assert opinion((1, 0, 0, 0), (0, 0, 0, 1)).agreement == 0
