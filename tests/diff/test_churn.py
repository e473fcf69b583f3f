from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mmsc_cli.diff.churn import AlignedLists, align, changed_by_rank, largest, rank_biased_distance


def answers(lists: dict[str, list[str]]) -> pa.Table:
    rows = [(query, item, rank) for query, items in lists.items() for rank, item in enumerate(items, start=1)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    return pa.table(dict(zip(("query", "item", "rank"), columns, strict=True)))


def aligned(old: dict[str, list[str]], new: dict[str, list[str]]) -> AlignedLists:
    return align(answers(old), answers(new))


def test_queries_of_one_night_alone_do_not_count() -> None:
    lists = aligned({"a": ["x", "y"], "gone": ["x"]}, {"new": ["x"], "a": ["x", "z"]})
    assert lists.queries.to_pylist() == ["a"]
    assert changed_by_rank(lists).tolist() == [0, 1]


def test_a_rank_that_one_list_lacks_has_changed_and_one_that_both_lack_does_not_count() -> None:
    lists = aligned({"a": ["x"], "b": ["x"], "c": ["x", "y"]}, {"a": ["x"], "b": ["x", "y"], "c": ["x", "y"]})
    assert changed_by_rank(lists).tolist() == [0, 0.5]


@pytest.mark.parametrize(
    ("new", "distance"),
    [
        (["p", "q", "r"], 0),
        (["x", "y", "z"], 1),
        # Overlap 0, 1, 1 at depths 1, 2, 3, weighted 1, 0.9, 0.81.
        (["q", "p", "r"], 1 / 2.71),
        # Overlap 1, 1/2, 1/3 x 2.
        (["p", "x", "q"], 1 - (1 + 0.9 * 0.5 + 0.81 * 2 / 3) / 2.71),
    ],
)
def test_rank_biased_distance_by_hand(new: list[str], distance: float) -> None:
    lists = aligned({"a": ["p", "q", "r"]}, {"a": new})
    assert rank_biased_distance(lists, 3) == pytest.approx([distance])
    assert rank_biased_distance(lists, 5) == pytest.approx([distance])


def test_what_is_below_the_depth_does_not_count() -> None:
    lists = aligned({"a": ["p", "q", "r"]}, {"a": ["p", "q", "x"]})
    assert rank_biased_distance(lists, 2).tolist() == [0]
    assert rank_biased_distance(lists, 3)[0] > 0


def test_short_lists_are_equal_to_themselves() -> None:
    lists = aligned({"a": ["p"], "b": ["p", "q", "r"]}, {"a": ["p"], "b": ["p", "q", "r"]})
    assert rank_biased_distance(lists, 3).tolist() == [0, 0]


def test_the_largest_moves_first_and_no_move_is_none() -> None:
    assert largest(np.array([0.1, 0.5, 0, 0.5]), 10) == [1, 3, 0]
    assert largest(np.array([0.1, 0.5, 0, 0.5]), 1) == [1]
