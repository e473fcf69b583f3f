"""The item that `mmsc run` ends with."""

from __future__ import annotations

import pyarrow as pa

from mmsc_cli.errors import MmscError
from mmsc_cli.infer.example import choose_example
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.workspace.workspace import Workspace


def test_shoppers_have_shown_the_best_answers_of_the_example(trained: Workspace) -> None:
    recommender = Recommender.open(trained.root, exact=True)
    item, answers = choose_example(recommender)

    assert [answer.relation for answer in answers] == list(RELATIONS)
    for answer in answers:
        entry = recommender.index.known.entry(recommender.index.row(item), recommender.index.row(answer.item))
        strength = recommender.index.optional(f"known.strength.{answer.relation}")
        assert entry is not None
        assert strength is not None
        assert strength[entry] > 0


def test_the_example_is_clear_to_a_person(trained: Workspace, items: pa.Table) -> None:
    recommender = Recommender.open(trained.root, exact=True)
    item, answers = choose_example(recommender)
    category = dict(zip(items["item_id"].to_pylist(), items["category"].to_pylist(), strict=True))
    substitute, complement = (answer.item for answer in answers)

    assert category[substitute] == category[item] != category[complement]
    opinions = recommender.judge([(item, substitute), (item, complement)])
    for opinion, relation in zip(opinions, RELATIONS, strict=True):
        assert not isinstance(opinion, MmscError)
        assert relation == max(RELATIONS, key=lambda name: getattr(opinion, f"p_{name}"))


def test_an_index_with_little_behind_it_has_an_example_too(hand_made: Recommender) -> None:
    item, answers = choose_example(hand_made)

    assert item in hand_made.index.ids
    assert all(answer.query == item for answer in answers)
