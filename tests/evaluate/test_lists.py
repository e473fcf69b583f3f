from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.lists import describe_lists
from mmsc_cli.evaluate.protocol import RelationProtocol, relation_protocol
from mmsc_cli.tables.relations import RELATIONS, Relation


def _protocols(context: EvaluationContext) -> dict[Relation, RelationProtocol]:
    return {relation: relation_protocol(relation, context.pairs, context.item_split) for relation in RELATIONS}


def test_equal_lists_overlap_wholly_and_disjoint_ones_not_at_all(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = random_context()
    halves = np.zeros((2, 120, 120), np.float32)
    halves[0, :, :60] = halves[1, :, 60:] = 1
    noise = np.random.default_rng(1).random((120, 120)).astype(np.float32) / 2
    same = describe_lists(context, fixed_scorer(noise), _protocols(context))
    apart = fixed_scorer({relation: noise + half for relation, half in zip(RELATIONS, halves, strict=True)})
    assert same["queries"] == (context.item_split == "warm").sum()
    assert same["overlap"] == 1
    assert describe_lists(context, apart, _protocols(context))["overlap"] == 0


def test_category_and_coverage_are_counted_over_unmasked_answers(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = random_context(pairs=300)
    leaf = np.arange(120) % 6
    alike = np.random.default_rng(2).random((120, 120)).astype(np.float32) + 2 * (leaf[:, None] == leaf)
    lists = describe_lists(context, fixed_scorer(alike.astype(np.float32)), _protocols(context))["relations"]
    for relation in RELATIONS:
        assert lists[relation]["same_category"] > 0.95
        assert 0.05 < lists[relation]["same_category_held_out"] < 0.35, "pairs are drawn at random over six leaves"
        assert 0.9 < lists[relation]["coverage"] <= 1
    favourite = np.zeros((120, 120), np.float32)
    favourite[:, :12] = 1
    few = describe_lists(context, fixed_scorer(favourite), _protocols(context))["relations"]["substitute"]
    assert few["coverage"] < 0.5


def test_without_categories_there_is_nothing_to_count(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = replace(random_context(), category=[[] for _ in range(120)])
    lists = describe_lists(context, fixed_scorer(np.eye(120, dtype=np.float32)), _protocols(context))
    assert lists["relations"]["complement"]["same_category"] is None
    assert lists["relations"]["complement"]["same_category_held_out"] is None


def test_a_relation_without_pairs_has_no_lists(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    context = random_context()
    nobody_bought = replace(context.pairs, buy_ab=0 * context.pairs.buy_ab, buy_ba=0 * context.pairs.buy_ba)
    context = replace(context, pairs=nobody_bought)
    lists = describe_lists(context, fixed_scorer(np.eye(120, dtype=np.float32)), _protocols(context))
    assert list(lists["relations"]) == ["substitute"]
    assert lists["overlap"] is None
