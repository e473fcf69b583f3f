"""Baskets as one question: what is put together, what is left out, and what is refused."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest

from mmsc_cli.errors import InputError, UnknownItemError
from mmsc_cli.index.shop_rules import RuleBook, ShopRule
from mmsc_cli.infer.basket import TEMPERATURE
from mmsc_cli.infer.choices import LONGEST_BASKET
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.workspace.workspace import Workspace
from tests.conftest import Mmsc


@pytest.fixture(scope="module")
def opened(trained: Workspace) -> Recommender:
    return Recommender.open(trained.root)


def test_the_score_is_the_mean_share_of_the_items(opened: Recommender) -> None:
    rows, ids = [0, 7, 19], opened.index.ids
    scores = opened.index.scores("complement", np.array(rows)).astype(np.float64) / TEMPERATURE
    wholes = np.logaddexp.reduce(scores, axis=1, keepdims=True)
    expected = np.logaddexp.reduce(scores - wholes, axis=0) - np.log(len(rows)) + wholes.mean()
    expected[rows] = -np.inf
    best = np.argsort(-expected, kind="stable")[:10]
    answers = opened.basket([ids[row] for row in rows], 10)

    assert [answer.item for answer in answers] == [ids[row] for row in best.tolist()]
    assert [answer.score for answer in answers] == pytest.approx(TEMPERATURE * expected[best], rel=1e-4)
    assert {answer.query for answer in answers} == {",".join(ids[row] for row in rows)}
    assert {answer.relation for answer in answers} == {"complement"}


def test_one_item_is_answered_as_itself_also_if_it_is_there_twice(opened: Recommender) -> None:
    item_id = opened.index.ids[3]
    alone = opened.complements(item_id, 10)
    for basket in ([item_id], [item_id, item_id]):
        answers = opened.basket(basket, 10)
        assert [answer.item for answer in answers] == [answer.item for answer in alone]
        assert [answer.score for answer in answers] == pytest.approx([answer.score for answer in alone], rel=1e-4)


def test_the_order_of_the_items_does_not_matter(opened: Recommender) -> None:
    ids = [opened.index.ids[row] for row in (5, 9, 60)]
    first, second = opened.basket(ids, 10), opened.basket(ids[::-1], 10)
    assert [answer.item for answer in first] == [answer.item for answer in second]


def _items(recommender: Recommender, *basket: str, k: int = 12, **filters: Any) -> list[str]:
    return [answer.item for answer in recommender.basket(basket, k, **filters)]


def test_what_is_in_the_basket_and_what_filters_leave_out_is_no_answer(hand_made: Recommender) -> None:
    assert sorted(_items(hand_made, "I00", "I05")) == [f"I{row:02}" for row in (1, 2, 3, 4, 6, 7, 8, 9, 10, 11)]
    # I00 is of the pans, I05 of the toys; I06 has no category.
    assert sorted(_items(hand_made, "I00", "I05", category="same")) == ["I01", "I02", "I07", "I09", "I10", "I11"]
    assert sorted(_items(hand_made, "I00", "I05", category="other")) == ["I03", "I04", "I08"]
    assert sorted(_items(hand_made, "I00", "I05", novel=True, in_stock=["I01", "I03"])) == ["I03"]


def test_rules_for_a_query_hold_for_a_basket_with_it(hand_made: Recommender) -> None:
    rules = [
        ShopRule("block", item="I01", query="I05"),
        ShopRule("pin", item="I09", query_category="Home > Pans", relation="complement", place=1),
    ]
    hand_made.book = RuleBook(hand_made.index, rules)
    assert _items(hand_made, "I00", "I05", k=2) == ["I09", "I02"]
    assert _items(hand_made, "I03", "I04", k=2) == ["I00", "I01"]


def test_short_lists_are_filled(hand_made: Recommender) -> None:
    answers = hand_made.with_fallback().basket(["I00", "I03"], 2, min_score=100)
    assert [(answer.item, answer.source) for answer in answers] == [("I01", "bestseller"), ("I02", "bestseller")]


def test_an_answer_is_explained_by_the_item_it_goes_with_best(opened: Recommender) -> None:
    rows, index = np.array([0, 120]), opened.index
    ids = [index.ids[row] for row in rows.tolist()]
    scores = index.scores("complement", rows).astype(np.float64) / TEMPERATURE
    closest = np.argmax(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True), axis=0)
    named = set()
    for answer in opened.basket(ids, 30, explain=True):
        item_id = ids[closest[index.row(answer.item)]]
        assert answer.why is not None
        assert answer.why.summary.startswith(f"with {item_id}: ")
        named.add(item_id)
    assert named == set(ids)
    (first, *_) = opened.basket(ids[:1], explain=True)
    assert first.why is not None
    assert not first.why.summary.startswith("with")


def test_baskets_without_items_with_unknown_or_too_many_are_refused(opened: Recommender) -> None:
    with pytest.raises(InputError, match="at least one"):
        opened.basket([])
    with pytest.raises(UnknownItemError, match="NOWHERE"):
        opened.basket([opened.index.ids[0], "NOWHERE"])
    with pytest.raises(InputError, match=f"at most {LONGEST_BASKET}"):
        opened.basket([opened.index.ids[row] for row in range(LONGEST_BASKET + 1)])


def test_both_relations_of_a_basket_are_its_complements(trained: Workspace, item_ids: list[str], mmsc: Mmsc) -> None:
    asked = ("infer", "-w", trained.root, "--basket", ",".join(item_ids[:2]), "-k", 3)

    assert mmsc(*asked, "--relation", "both").out == mmsc(*asked).out


def test_the_command_answers_each_basket(
    trained: Workspace, item_ids: list[str], mmsc: Mmsc, opened: Recommender
) -> None:
    first, second = ",".join(item_ids[:2]), f'"{item_ids[3]}", {item_ids[4]}'
    ran = mmsc("infer", "-w", trained.root, "--basket", first, "--basket", second, "--basket", "NOWHERE", "-k", 2)
    rows = list(csv.reader(io.StringIO(ran.out), delimiter="\t"))

    assert ran.code == 3
    assert "--basket NOWHERE: unknown item" in ran.err
    assert [row[0] for row in rows[1:]] == [first] * 2 + [f"{item_ids[3]},{item_ids[4]}"] * 2
    assert [row[3] for row in rows[1:3]] == [answer.item for answer in opened.basket(item_ids[:2], 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--relation", "substitute"], "nothing replaces several items"),
        (["--price-within", "20%"], "--price-within is for substitutes"),
        (["--overlap"], "--overlap is for"),
        (["--all"], "too many questions"),
    ],
)
def test_what_means_nothing_for_a_basket_is_refused(
    trained: Workspace, item_ids: list[str], mmsc: Mmsc, options: list[str], message: str
) -> None:
    ran = mmsc("infer", "-w", trained.root, "--basket", item_ids[0], *options)
    assert ran.code == 2
    assert message in ran.err
