"""Answers found among ranked candidates alone are those of a search of the whole catalogue."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mmsc_cli.index.filters import Filters, sieves
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import IndexRanker, QueryBlock
from mmsc_cli.index.storage import Strings
from mmsc_cli.tables.relations import RELATIONS
from tests.fixtures.made_up_index import COMPOSED_ITEMS, composed_index

ITEMS, K = COMPOSED_ITEMS, 10
FILTERS = [
    Filters(),
    Filters(novel=True),
    Filters(min_score=2.0),
    Filters(variants=True),
    Filters(category="same"),
    Filters(category="other"),
    Filters(price_within=0.5),
    Filters(diversify=True),
    Filters(in_stock=[f"B{row:09}" for row in range(0, ITEMS, 2)]),
]


@pytest.mark.parametrize("filters", FILTERS)
def test_candidates_alone_give_what_the_whole_catalogue_gives(filters: Filters) -> None:
    index = composed_index(np.random.default_rng(5))
    queries = [Query.of_item(index, index.ids[row]) for row in range(0, ITEMS, 5)]
    ranker = IndexRanker(index, sieves(index, filters), K)
    block = QueryBlock.of_items(index, queries, RELATIONS)
    answered = ranker.rank(block)
    for number, relation in enumerate(RELATIONS):
        searched = ranker._exact(relation, queries, block.vectors[relation], block.additions[relation])
        for ranking, whole in zip(answered, searched, strict=True):
            assert ranking[number].rows.tolist() == whole.rows.tolist()
            np.testing.assert_allclose(ranking[number].scores, whole.scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shuffled", [False, True])
def test_rows_that_come_best_first_give_what_the_whole_catalogue_gives(shuffled: bool) -> None:
    """Also where an index says so of itself and it is not true."""
    composed = composed_index(np.random.default_rng(8))
    tensors = {name: tensor for name, tensor in composed.tensors.items() if name != "group"}
    if shuffled:
        for relation in RELATIONS:
            for name in ("indices", "values"):
                kept = tensors[f"{relation}.linear.{name}"] = tensors[f"{relation}.linear.{name}"].copy()
                for start, stop in pairwise(tensors[f"{relation}.linear.indptr"].tolist()):
                    kept[start:stop] = np.roll(kept[start:stop], 3)
    index = Index(tensors, {"ranked": True})
    queries = [Query.of_item(index, index.ids[row]) for row in range(ITEMS)]
    ranker = IndexRanker(index, sieves(index, Filters()), K)
    block = QueryBlock.of_items(index, queries, RELATIONS)
    for number, relation in enumerate(RELATIONS):
        searched = ranker._exact(relation, queries, block.vectors[relation], block.additions[relation])
        for ranking, whole in zip(ranker.rank(block), searched, strict=True):
            assert ranking[number].rows.tolist() == whole.rows.tolist()
            np.testing.assert_allclose(ranking[number].scores, whole.scores, rtol=1e-5, atol=1e-5)


def test_most_questions_need_no_search_and_those_that_do_get_one() -> None:
    index = composed_index(np.random.default_rng(6))
    queries = [Query.of_item(index, index.ids[row]) for row in range(ITEMS)]
    few = IndexRanker(index, sieves(index, Filters()), K)
    rare = IndexRanker(index, sieves(index, Filters(in_stock=[index.ids[row] for row in range(5)], variants=True)), 4)

    assert all(few.rank_at_once(query, "substitute") is not None for query in queries)
    found = rare.rank(QueryBlock.of_items(index, queries, ["substitute"]))
    assert {len(ranking[0].rows) for ranking in found} == {4}
    assert any(rare.rank_at_once(query, "substitute") is None for query in queries)


def test_an_item_that_is_no_candidate_but_scores_higher_is_found() -> None:
    index = composed_index(np.random.default_rng(7))
    tensors = dict(index.tensors)
    tensors["substitute.key"] = tensors["substitute.key"].copy()
    tensors["substitute.key"][3] += (
        100 * tensors["substitute.query"][0] / np.linalg.norm(tensors["substitute.query"][0])
    )
    changed = Index(tensors, {})
    query = Query.of_item(changed, changed.ids[0])
    ranker = IndexRanker(changed, sieves(changed, Filters(variants=True)), K)

    assert ranker.rank_at_once(query, "substitute") is None
    assert ranker.rank(QueryBlock.of_items(changed, [query], ["substitute"]))[0][0].rows[0] == 3


def test_ids_are_found_by_their_bytes() -> None:

    ids = sorted(["", "a", "Z", "é", "\uffff", "\U0001f600", "z" * 300, "a\x00"])
    strings = Strings.of(ids)

    assert [strings.position(text) for text in ids] == list(range(len(ids)))
    assert all(text in strings for text in ids)
    assert not any(text in strings for text in ("b", "aa", "\ud800", "\U0001f601"))
