"""No item is both a substitute and a complement of one query, unless that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsc_cli.errors import MmscError, WorkspaceError
from mmsc_cli.index.filters import Filters
from mmsc_cli.index.index_file import Index, write_index
from mmsc_cli.infer.answers import Answer
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.hand_made_index import hand_made_tensors


@pytest.fixture(scope="module")
def opened(trained: Workspace) -> Recommender:
    return Recommender.open(trained.root)


def _lists(recommender: Recommender, item_id: str, k: int, **options: Any) -> list[list[Answer]]:
    (outcome,) = recommender.answer([item_id], "both", k, **options)
    assert not isinstance(outcome, MmscError)
    return [[answer for answer in outcome if answer.relation == relation] for relation in RELATIONS]


def test_lists_are_full_and_share_nothing(opened: Recommender) -> None:
    overlapping = 0
    for item_id in list(opened.index.ids)[:100]:
        whole = _lists(opened, item_id, 10, overlap=True)
        apart = _lists(opened, item_id, 10)
        items = [{answer.item for answer in answers} for answers in apart]
        shared = {answer.item for answer in whole[0]} & {answer.item for answer in whole[1]}
        overlapping += bool(shared)

        assert [len(answers) for answers in apart] == [10, 10]
        assert not items[0] & items[1]
        for answers in apart:
            assert [answer.rank for answer in answers] == list(range(1, 11))
            scores = [answer.score for answer in answers if answer.score is not None]
            assert scores == sorted(scores, reverse=True)
        for item in shared:
            opinion = opened.probabilities(item_id, item)
            assert item in items[int(opinion.p_complement > opinion.p_substitute)]
    assert overlapping > 10


def test_each_list_is_the_whole_ranking_less_what_the_other_shows(opened: Recommender) -> None:
    for item_id in list(opened.index.ids)[:20]:
        whole = _lists(opened, item_id, 290, overlap=True)
        for answers, every, other in zip(
            _lists(opened, item_id, 8), whole, reversed(_lists(opened, item_id, 8)), strict=True
        ):
            shown = {answer.item for answer in other}
            expected = [answer.item for answer in every if answer.item not in shown]
            assert [answer.item for answer in answers] == expected[:8]


def test_all_items_are_shared_out_where_all_are_asked_for(opened: Recommender) -> None:
    first, second = _lists(opened, opened.index.ids[0], len(opened))

    assert len(first) + len(second) == len(opened) - 1
    assert not {answer.item for answer in first} & {answer.item for answer in second}


def test_new_items_too(opened: Recommender) -> None:
    (outcome,) = opened.answer_new([{"title": "black camera"}], "both", 10)
    assert not isinstance(outcome, MmscError)

    assert len(outcome) == 20
    assert len({answer.item for answer in outcome}) == 20


def test_without_calibration_the_higher_rank_decides(hand_made: Recommender) -> None:
    # Both relations rank the items alike, so that substitutes take the first k.
    first, second = _lists(hand_made, "I00", 3)

    assert [answer.item for answer in first] == ["I01", "I02", "I03"]
    assert [answer.item for answer in second] == ["I04", "I05", "I06"]


def test_variants_of_one_product_are_not_in_both_lists(hand_made: Recommender) -> None:
    group = np.array([-1, 0, 0, 0, 1, 1, 1, *[-1] * 5], np.int32)
    shop = Recommender(Index({**hand_made_tensors(), "group": group}, {}), hand_made._root)
    for item_id in shop.index.ids:
        shown = [[group[shop.index.row(answer.item)] for answer in answers] for answers in _lists(shop, item_id, 4)]
        assert not {number for number in shown[0] if number >= 0} & {number for number in shown[1] if number >= 0}
    (both,) = ({answer.item for answers in _lists(shop, "I00", 4, overlap=True) for answer in answers},)
    assert len(both) < 8, "else nothing had to be kept apart"


def test_complements_of_different_types_still_come_first(hand_made: Recommender) -> None:
    filters = Filters(diversify=True)
    first, second = _lists(hand_made, "I00", 2, filters=filters)

    assert [answer.item for answer in first] == ["I01", "I02"]
    assert [answer.item for answer in second] == ["I03", "I05"]


def test_filters_may_differ_between_relations(opened: Recommender) -> None:
    index = opened.index
    category = index.optional("category")
    assert category is not None
    row = int(np.flatnonzero(category >= 0)[0])
    filters = {"substitute": Filters(category="same"), "complement": Filters(category="other")}
    first, second = _lists(opened, index.ids[row], 5, filters=filters)

    assert first
    assert all(category[index.row(answer.item)] == category[row] for answer in first)
    assert len(second) == 5
    assert all(category[index.row(answer.item)] not in (-1, category[row]) for answer in second)


@pytest.fixture
def views_only(tmp_path: Path) -> Recommender:
    """An index that was trained without a single co-purchase."""
    tensors = hand_made_tensors()
    tensors["known.strength.complement"] = np.zeros_like(tensors["known.strength.complement"])
    (tmp_path / "index").mkdir()
    write_index(tmp_path / "index", tensors, {"label_models": ["judge"], "channels": ["item", "view"]})
    return Recommender(Index.open(tmp_path / "index"), tmp_path)


def test_a_relation_that_was_never_trained_is_refused(views_only: Recommender) -> None:
    with pytest.raises(WorkspaceError, match="no complements: there were no co-purchase pairs") as caught:
        views_only.complements("I00")

    assert "--relation substitute" in str(caught.value.hint)
    assert views_only.substitutes("I00", 2)


def test_of_both_relations_the_trained_one_is_answered_and_the_other_reported(
    views_only: Recommender, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        first, second = _lists(views_only, "I00", 3)
        assert len(first) == 3
        assert not second
    assert caplog.text.count("no complements") == 1
