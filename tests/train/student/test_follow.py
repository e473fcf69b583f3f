"""How far answers follow the student: as people judge, else as far as validation pairs can pay for."""

from __future__ import annotations

import numpy as np
import pytest

from mmsc_cli.index.following import RANGE
from mmsc_cli.index.index_file import Index
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.train.student.follow import Following, choose_following
from mmsc_cli.train.student.judged import Judged
from mmsc_cli.train.validation import Validations, validations_of
from tests.fixtures.ring_index import ring_index

ITEMS, ANSWERS = 300, 20
COLD = 40
AGREES, CONTRADICTS = np.linspace(0.9, 0.1, ANSWERS), np.linspace(0.1, 0.9, ANSWERS)


def index_of(truth: np.ndarray, truth_of_cold: np.ndarray | None = None) -> Index:
    """Every item has the 20 items behind it as candidates, the nearest first; the last COLD items are cold."""
    share = 0.8 ** np.arange(ANSWERS)
    behaviour = np.log1p(np.exp(RANGE) * share / share.sum())
    probable = np.tile(truth, (ITEMS, 1))
    if truth_of_cold is not None:
        probable[-COLD:] = truth_of_cold
    return ring_index(np.tile(behaviour, (ITEMS, 1)), probable)


def questions(warm: bool = True, cold: bool = True) -> Validations:
    """Everyone's first answer is right, and for a fifth of the items the last one too."""
    first = [(row, row + 1) for row in range(ITEMS - COLD - 1)] if warm else []
    last = [(row, row + ANSWERS) for row in range(0, ITEMS - COLD - ANSWERS, 5)] if warm else []
    # Of cold items, the 20th item behind is warm again only across the end.
    of_cold = [((ITEMS - 1), answer) for answer in range(3)] if cold else []
    ends = np.array(sorted({(min(pair), max(pair)) for pair in [*first, *last, *of_cold]}), np.int32).reshape(-1, 2)
    ones = np.ones(len(ends), np.float32)
    splits = np.repeat(["warm", "cold_valid"], [ITEMS - COLD, COLD])
    pairs = Pairs(ends[:, 0], ends[:, 1], ones, ones, ones, ones, np.full(len(ends), "valid"))
    return validations_of(pairs, splits, 1)


def weights(following: Following) -> set[float]:
    return set(following.weights.values())


def test_a_student_that_agrees_with_shoppers_is_followed_fully() -> None:
    following = choose_following(index_of(AGREES), questions(), None)
    assert weights(following) == {1.0}
    assert set(following.chosen_by.values()) == {"behaviour"}


def test_one_that_contradicts_them_as_far_as_validation_pairs_can_pay_for() -> None:
    (weight,) = weights(choose_following(index_of(CONTRADICTS), questions(), None))
    assert 0 < weight < 0.9


def test_cold_items_are_to_pay_little_too() -> None:
    index = index_of(AGREES, truth_of_cold=CONTRADICTS)
    (weight,) = weights(choose_following(index, questions(), None))
    assert weight < 0.9
    assert weights(choose_following(index, questions(cold=False), None)) == {1.0}


def test_without_warm_queries_nothing_is_followed() -> None:
    assert weights(choose_following(index_of(AGREES), questions(warm=False), None)) == {0.0}


def test_a_student_is_followed_no_further_than_it_is_skilled() -> None:
    assert weights(choose_following(index_of(AGREES), questions(), None, skill=0.3)) == {0.3}


def test_a_weight_that_is_asked_for_is_taken() -> None:
    following = choose_following(index_of(CONTRADICTS), questions(), 0.7)
    assert weights(following) == {0.7}
    assert set(following.chosen_by.values()) == {"settings"}


def judged(right: np.ndarray, opinions: np.ndarray | None = None, n_pairs: int = 200) -> Judged:
    """Pairs of an item and one behind it: the class is that of `right` (ANSWERS,) by how far behind it is."""
    a = np.arange(n_pairs, dtype=np.int64)
    distance = 1 + a % ANSWERS
    return Judged(a, a + distance, right[distance - 1], opinions)


NEAR_IS_NEITHER = np.repeat([2, 1], ANSWERS // 2)
NEAR_IS_COMPLEMENT = np.repeat([1, 2], ANSWERS // 2)


def test_people_who_side_with_the_student_have_it_followed_whatever_behaviour_pays() -> None:
    following = choose_following(index_of(CONTRADICTS), questions(), None, judged=judged(NEAR_IS_NEITHER))
    assert following.weights["complement"] > 0.9
    # No pair was judged a substitute, so that behaviour decides there.
    assert following.chosen_by == {"substitute": "behaviour", "complement": "people"}


def test_people_who_side_with_shoppers_have_it_followed_no_further() -> None:
    following = choose_following(index_of(CONTRADICTS), questions(), None, judged=judged(NEAR_IS_COMPLEMENT))
    assert following.weights["complement"] == 0.0


def test_the_student_is_measured_by_what_it_says_unseen() -> None:
    """It copies what people said of pairs that it was taught, and knows nothing of others."""
    people = judged(NEAR_IS_NEITHER, np.full((200, 3), 1 / 3, np.float32))
    following = choose_following(index_of(CONTRADICTS), questions(), None, judged=people)
    copied = choose_following(index_of(CONTRADICTS), questions(), None, judged=judged(NEAR_IS_NEITHER))
    assert following.weights["complement"] < copied.weights["complement"]


@pytest.mark.parametrize("n_pairs", [0, 60])
def test_few_judgements_choose_nothing(n_pairs: int) -> None:
    people = judged(NEAR_IS_NEITHER, n_pairs=n_pairs)
    following = choose_following(index_of(AGREES), questions(), None, judged=people)
    assert set(following.chosen_by.values()) == {"behaviour"}
