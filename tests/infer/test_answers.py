"""Ranked answers from an index."""

from __future__ import annotations

import numpy as np
import pytest

from mmsc_cli.errors import UnknownItemError
from mmsc_cli.index import Index
from mmsc_cli.infer.answers import answer_item
from mmsc_cli.pairs import read_pairs
from mmsc_cli.relations import RELATIONS
from mmsc_cli.workspace import Workspace


@pytest.fixture(scope="module")
def index(trained: Workspace) -> Index:
    return Index.open(trained.path("index"))


@pytest.mark.parametrize("relation", RELATIONS)
def test_answers_come_best_first_and_never_the_item_itself(index: Index, relation: str) -> None:
    for item_id in list(index.ids)[:20]:
        answers = list(answer_item(index, item_id, relation, 10))  # type: ignore[arg-type]

        assert [answer.rank for answer in answers] == list(range(1, 11))
        assert item_id not in {answer.item for answer in answers}
        scores = [answer.score for answer in answers]
        assert scores == sorted(scores, reverse=True)
        assert answers[0].title == index.title(answers[0].item)


def test_the_best_answers_are_those_of_the_whole_catalogue(index: Index) -> None:
    row = 5
    expected = index.scores("substitute", np.array([row]))[0]
    expected[row] = -np.inf

    answers = list(answer_item(index, index.ids[row], "substitute", 3))

    assert [answer.item for answer in answers] == [index.ids[int(best)] for best in np.argsort(-expected)[:3]]


def test_both_relations_one_after_the_other(index: Index) -> None:
    answers = list(answer_item(index, index.ids[0], "both", 2))

    assert [answer.relation for answer in answers] == ["substitute"] * 2 + ["complement"] * 2


def test_more_answers_than_items(index: Index) -> None:
    assert len(list(answer_item(index, index.ids[0], "substitute", 10_000))) == len(index) - 1


def test_novel_leaves_out_the_training_pairs_and_nothing_else(index: Index, trained: Workspace) -> None:
    training = read_pairs(trained.path("pairs.parquet")).of("train")
    row = int(training.a[0])
    partners = {*training.b[training.a == row].tolist(), *training.a[training.b == row].tolist()}

    for relation in RELATIONS:
        answers = answer_item(index, index.ids[row], relation, len(index), novel=True)
        left = {answer.item for answer in answers}
        assert left == {index.ids[other] for other in range(len(index)) if other not in {row, *partners}}


def test_an_unknown_item_names_those_it_may_have_meant(index: Index) -> None:
    known = str(index.ids[100])
    mistyped = known[:-1] + ("Y" if known[-1] != "Y" else "Z")

    with pytest.raises(UnknownItemError) as caught:
        list(answer_item(index, mistyped, "both", 1))

    assert repr(mistyped) in caught.value.message
    assert known in (caught.value.hint or "")
