"""Bestsellers fill lists that are too short, and never pretend to be the model's answers."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from mmsc_cli.errors import MmscError
from mmsc_cli.index.shop_rules import RuleBook, ShopRule
from mmsc_cli.index.storage import SparseRows
from mmsc_cli.infer.answers import Answer
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.infer.shop.going_together import GoingTogether
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
        answers = recommender.substitutes(recommender.index.ids[row], 30, min_score=1e6)
        same = [category[recommender.index.row(answer.item)] == category[row] for answer in answers]
        assert len(answers) == 30
        assert same == sorted(same, reverse=True)
        assert same[0]


def test_complements_are_first_of_categories_that_are_bought_with_the_querys(trained: Workspace) -> None:
    recommender = Recommender.open(trained.root).with_fallback()
    index = recommender.index
    category, strength = index.optional("category"), index.optional("known.strength.complement")
    assert category is not None
    assert strength is not None
    looked_at = 0
    for row in range(30):
        (first, *_) = recommender.complements(index.ids[row], 5, min_score=1e6)
        chosen = category[index.row(first.item)]
        assert first.source == "bestseller"
        bought_with = {
            category[index.known.indices[entry]]
            for item in np.flatnonzero(category == category[row])
            for entry in range(index.known.indptr[item], index.known.indptr[item + 1])
            if strength[entry] > 0
        }
        if bought_with - {category[row]}:
            looked_at += 1
            assert chosen != category[row]
            assert chosen in bought_with
    assert looked_at > 20


def test_the_category_that_goes_best_comes_first_not_the_one_that_sells_most() -> None:
    """Category 0 is bought with 1 three times of four, and with 2, which everything is bought with, once."""
    pairs = [(0, 3), (0, 4), (1, 3), (1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (7, 6), (8, 6)]
    category = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3], np.int32)
    ends = np.array(pairs + [(b, a) for a, b in pairs])
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    indptr = np.searchsorted(ends[order, 0], np.arange(len(category) + 1)).astype(np.int64)

    class _Index:
        known = SparseRows(indptr, ends[order, 1].astype(np.int32))

        def __len__(self) -> int:
            return len(category)

        def optional(self, name: str) -> NDArray[Any] | None:
            known = {"category": category, "known.strength.complement": np.ones(len(ends), np.float32)}
            return known.get(name)

    going = GoingTogether(_Index())  # type: ignore[arg-type]
    assert going.categories([0])[0] == 1
    assert 0 not in going.categories([0, 1])
    assert going.categories([]) == []


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
