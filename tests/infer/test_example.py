"""The item that `mmsc run` ends with."""

from __future__ import annotations

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


def test_an_index_with_little_behind_it_has_an_example_too(hand_made: Recommender) -> None:
    item, answers = choose_example(hand_made)

    assert item in hand_made.index.ids
    assert all(answer.query == item for answer in answers)
