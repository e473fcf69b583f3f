"""Bestsellers fill lists that are too short, and never pretend to be the model's answers."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import MmscError
from mmsc_cli.index.shop_rules import RuleBook, ShopRule
from mmsc_cli.infer.answers import Answer
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.workspace.workspace import Workspace
from tests.conftest import Mmsc


@pytest.fixture
def filled(hand_made: Recommender) -> Recommender:
    """Items 0, 1 and 2, all pans, are the only ones with known pairs: their strengths are 1.5, 1.25 and 0.75."""
    return hand_made.with_fallback()


def _shown(answers: list[Answer]) -> list[tuple[str, str]]:
    return [(answer.item, answer.source) for answer in answers]


def test_an_empty_list_is_filled_with_what_sells_best(filled: Recommender) -> None:
    answers = filled.substitutes("I03", 2, min_score=5)

    assert _shown(answers) == [("I00", "bestseller"), ("I01", "bestseller")]
    assert [answer.rank for answer in answers] == [1, 2]
    assert [answer.score for answer in answers] == [None, None]


def test_a_short_list_is_filled_without_what_it_shows(filled: Recommender) -> None:
    assert _shown(filled.substitutes("I03", 3, min_score=-1)) == [
        ("I00", "model"),
        ("I01", "model"),
        ("I02", "bestseller"),
    ]


def test_neither_the_query_nor_the_other_list_is_repeated(filled: Recommender) -> None:
    (outcome,) = filled.answer(["I00"], "both", 2, filters=None)
    assert not isinstance(outcome, MmscError)
    (few,) = filled.answer(["I00"], "both", 2, {"substitute": _min(5.0), "complement": _min(5.0)})
    assert not isinstance(few, MmscError)

    assert [answer.source for answer in outcome] == ["model"] * 4
    assert [(answer.relation, answer.item) for answer in few] == [("substitute", "I01"), ("substitute", "I02")]


def _min(score: float) -> Any:
    from mmsc_cli.index.filters import Filters

    return Filters(min_score=score)


def test_filters_and_rules_hold_for_bestsellers(filled: Recommender) -> None:
    assert _shown(filled.substitutes("I03", 3, min_score=5, in_stock=["I01", "I09"])) == [("I01", "bestseller")]
    assert _shown(filled.substitutes("I03", 3, min_score=5, category="same")) == []
    filled.book = RuleBook(filled.index, [ShopRule("block", item="I00")])
    assert _shown(filled.substitutes("I03", 1, min_score=5)) == [("I01", "bestseller")]


def test_those_of_the_querys_category_come_first(trained: Workspace) -> None:
    recommender = Recommender.open(trained.root).with_fallback()
    category = recommender.index.optional("category")
    assert category is not None
    for row in range(10):
        answers = recommender.complements(recommender.index.ids[row], 30, min_score=1e6)
        same = [category[recommender.index.row(answer.item)] == category[row] for answer in answers]
        assert len(answers) == 30
        assert same == sorted(same, reverse=True)
        assert same[0]


def test_every_form_says_which_answers_are_bestsellers(trained: Workspace, item_ids: list[str], mmsc: Mmsc) -> None:
    asked = ("infer", "-w", trained.root, item_ids[0], "--relation", "complement", "-k", 2, "--min-score", "1e6")
    ran = mmsc(*asked, "--fallback")
    header, *rows = [line.split("\t") for line in ran.out.splitlines()]
    assert [(row[header.index("score")], row[header.index("source")]) for row in rows] == [("", "bestseller")] * 2
    assert "filled with 2 bestsellers" in ran.err
    whole = json.loads(mmsc(*asked, "--fallback", "--json", "--explain").out)["answers"]
    assert [(one["score"], one["source"], one["network_score"]) for one in whole] == [(None, "bestseller", None)] * 2
    assert mmsc(*asked).out.count("\n") == 1


def test_parquet_says_it_too(
    trained: Workspace, item_ids: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from mmsc_cli.cli.app import run_command

    root = str(trained.root)
    asked = [
        "infer",
        "-w",
        root,
        item_ids[0],
        "--relation",
        "complement",
        "--min-score",
        "1e6",
        "--fallback",
        "-k",
        "1",
    ]
    assert run_command([*asked, "--format", "parquet"]) == 0
    table = pq.read_table(io.BytesIO(capfdbinary.readouterr().out))
    assert table.select(["score", "source"]).to_pylist() == [{"score": None, "source": "bestseller"}]
