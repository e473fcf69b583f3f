"""The Python twin of `mmsc infer`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmsc_cli
from mmsc_cli.errors import InputError, MmscError, UnknownItemError, WorkspaceError
from mmsc_cli.index import ranking
from mmsc_cli.index.filters import Filters, sieves
from mmsc_cli.index.query import Query
from mmsc_cli.infer import recommender
from mmsc_cli.infer.answers import Answer
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.items import item_splits, read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def opened(trained: Workspace) -> Recommender:
    return Recommender.open(trained.root)


def _asked(opened: Recommender, item_id: str, relation: Any, k: int, filters: Filters | None = None) -> list[Answer]:
    (outcome,) = opened.answer([item_id], relation, k, filters)
    assert not isinstance(outcome, MmscError)
    return outcome


@pytest.mark.parametrize("relation", RELATIONS)
def test_answers_come_best_first_and_never_the_item_itself(opened: Recommender, relation: str) -> None:
    for item_id in list(opened.index.ids)[:20]:
        answers = _asked(opened, item_id, relation, 10)

        assert [answer.rank for answer in answers] == list(range(1, 11))
        assert item_id not in {answer.item for answer in answers}
        scores = [answer.score for answer in answers if answer.score is not None]
        assert scores == sorted(scores, reverse=True)
        assert answers[0].title == opened.title(answers[0].item)


@pytest.mark.parametrize("relation", RELATIONS)
def test_the_best_answers_are_those_of_the_whole_catalogue(opened: Recommender, relation: Any) -> None:
    ids = opened.index.ids
    outcomes = opened.answer([ids[row] for row in range(50)], relation, 3)
    for row, outcome in enumerate(outcomes):
        expected = opened.index.scores(relation, np.array([row]))[0]
        expected[row] = -np.inf
        assert not isinstance(outcome, MmscError)
        assert [answer.item for answer in outcome] == [ids[int(best)] for best in np.argsort(-expected)[:3]]
        assert [answer.score for answer in outcome] == pytest.approx(np.sort(expected)[::-1][:3].tolist(), rel=1e-5)


def test_many_questions_are_answered_as_each_alone(opened: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [*list(opened.index.ids)[:40], "NOWHERE", opened.index.ids[3]]
    monkeypatch.setattr(recommender, "block_size", lambda items: 7)
    monkeypatch.setattr(ranking, "usable_cores", lambda: 3)
    together = list(opened.answer(ids, "both", 4))
    monkeypatch.undo()

    for item_id, outcome in zip(ids, together, strict=True):
        (alone,) = opened.answer([item_id], "both", 4)
        if item_id == "NOWHERE":
            assert isinstance(outcome, UnknownItemError)
            continue
        assert not isinstance(outcome, MmscError)
        assert not isinstance(alone, MmscError)
        assert [(answer.query, answer.relation, answer.item) for answer in outcome] == [
            (answer.query, answer.relation, answer.item) for answer in alone
        ]


def test_both_relations_one_after_the_other(opened: Recommender) -> None:
    (answers,) = opened.answer([opened.index.ids[0]], "both", 2, overlap=True)
    assert not isinstance(answers, MmscError)

    assert [answer.relation for answer in answers] == ["substitute"] * 2 + ["complement"] * 2
    assert answers[:2] == opened.substitutes(opened.index.ids[0], 2)
    assert answers[2:] == opened.complements(opened.index.ids[0], 2)


def test_more_answers_than_items(opened: Recommender) -> None:
    assert len(opened.substitutes(opened.index.ids[0], 10_000)) == len(opened) - 1


def test_no_answers_cannot_be_asked_for(opened: Recommender) -> None:
    with pytest.raises(InputError, match="at least one"):
        opened.substitutes(opened.index.ids[0], 0)


@pytest.mark.parametrize("judged", [False, True])
def test_novel_leaves_out_the_pairs_the_index_knows_and_nothing_else(trained: Workspace, judged: bool) -> None:
    recommender = Recommender.open(trained.root, judged=judged)
    known = Pairs.read(trained.path("pairs.parquet"))
    if judged:
        warm = item_splits(read_items(trained.path("items.parquet"))) == "warm"
        known = known.select((known.split != "test") & warm[known.a] & warm[known.b])
    row, ids = int(known.a[0]), recommender.index.ids
    partners = {*known.b[known.a == row].tolist(), *known.a[known.b == row].tolist()}

    for relation in RELATIONS:
        left = {
            answer.item for answer in _asked(recommender, ids[row], relation, len(recommender), Filters(novel=True))
        }
        assert left == {ids[other] for other in range(len(recommender)) if other not in {row, *partners}}


@pytest.mark.parametrize("place", [0, 4, 9])
def test_an_unknown_item_names_those_it_may_have_meant(opened: Recommender, place: int) -> None:
    known = opened.index.ids[100]
    mistyped = known[:place] + ("Y" if known[place] != "Y" else "Z") + known[place + 1 :]

    with pytest.raises(UnknownItemError) as caught:
        opened.substitutes(mistyped)

    assert repr(mistyped) in caught.value.message
    assert known in (caught.value.hint or "")


def test_an_endless_id_is_answered_briefly(opened: Recommender) -> None:
    with pytest.raises(UnknownItemError) as caught:
        opened.substitutes("x" * 1_000_000)

    assert len(caught.value.message) < 200


def test_an_index_of_another_model_is_refused(trained_copy: Workspace, trained: Workspace) -> None:
    trained_copy.path("manifest.json").unlink()  # which would find it first
    described = trained_copy.path("index/index.json")
    about = json.loads(described.read_bytes())
    described.write_text(json.dumps(about | {"model": "0" * 64}))
    with pytest.raises(WorkspaceError, match="of two models"):
        Recommender.open(trained_copy.root)

    path = trained_copy.path("model/model.safetensors")
    described.write_text(json.dumps(about))
    path.write_bytes(path.read_bytes().replace(about["model"].encode(), b"0" * 64))
    with pytest.raises(WorkspaceError, match="another model than model/"):
        Recommender.open(trained_copy.root)


def test_the_index_answers_alone(trained: Workspace, tmp_path: Path) -> None:
    (tmp_path / "index").symlink_to(trained.path("index"))
    alone, whole = Recommender.open(tmp_path), Recommender.open(trained.root)

    assert alone.complements(alone.index.ids[5]) == whole.complements(whole.index.ids[5])


def test_a_candidate_of_the_linear_branch_is_never_missed(hand_made: Recommender) -> None:
    class Nothing:
        def nearest(self, relation: str, vector: object, count: int) -> object:
            return np.array([3, 4], np.int64)

    sieve = sieves(hand_made.index, Filters(min_score=-3.5))
    ranker = ranking.IndexRanker(hand_made.index, sieve, 5, Nothing())  # type: ignore[arg-type]
    query = Query.of_item(hand_made.index, "I00")
    ((ranked,),) = ranker.rank(ranking.QueryBlock.of_items(hand_made.index, [query], ["substitute"]))

    assert ranked.rows.tolist() == [1, 3]
    assert ranked.scores.tolist() == [-0.75, -3]


def test_the_judged_index_has_not_seen_the_held_out_pairs(trained: Workspace, opened: Recommender) -> None:
    judged = Recommender.open(trained.root, judged=True)
    held_out = Pairs.read(trained.path("pairs.parquet")).of("test")
    known = [recommender.index.known for recommender in (judged, opened)]
    seen = [
        [rows.entry(int(a), int(b)) is not None for a, b in zip(held_out.a, held_out.b, strict=True)] for rows in known
    ]

    assert not any(seen[0])
    assert all(seen[1])
    assert len(judged.substitutes(judged.index.ids[0])) == 10


def test_training_says_whether_there_is_an_approximate_index(trained: Workspace) -> None:
    assert trained.manifest().stages["train"].counts["hnsw_recall"] == {}


def test_the_package_offers_it_without_loading_it() -> None:
    code = "import sys, mmsc_cli; print('numpy' in sys.modules, mmsc_cli.Recommender.__name__, 'numpy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["False", "Recommender", "True"]
    with pytest.raises(AttributeError, match="Recomender"):
        _ = mmsc_cli.Recomender
