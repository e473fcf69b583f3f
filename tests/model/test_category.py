from __future__ import annotations

import numpy as np
from scipy import sparse

from mmsc_cli.model.category import CategoryAffinity

# Tents (1), mats (2) and mugs (3): every tent goes with every mat, and one mug with one tent.
LEAF = np.array([1, 1, 1, 2, 2, 2, 3, 3, 0])


def affinity(pairs: list[tuple[int, int]]) -> CategoryAffinity:
    a, b = (np.array(end) for end in zip(*pairs, strict=True))
    ends = (np.concatenate([a, b]), np.concatenate([b, a]))
    adjacency = sparse.coo_array((np.ones(2 * len(a), np.float32), ends), shape=(len(LEAF), len(LEAF))).tocsr()
    return CategoryAffinity(adjacency, LEAF)


TENTS_AND_MATS = [(tent, mat) for tent in range(3) for mat in range(3, 6)]


def test_categories_that_go_together_are_told_from_those_that_met_by_chance() -> None:
    found = affinity([*TENTS_AND_MATS, (0, 6)])
    tent = np.array([0])
    mat, mug, tent_again = (float(found.log_ratio(tent, np.array([other]))[0]) for other in (4, 7, 1))
    assert mat > mug > tent_again
    assert mat > 0 > tent_again


def test_a_pair_is_not_evidence_for_itself() -> None:
    ends = np.array([0]), np.array([6])
    whole = affinity([*TENTS_AND_MATS, (0, 6)]).log_ratio(*ends, np.array([1.0], np.float32))
    without = affinity(TENTS_AND_MATS).log_ratio(*ends)
    np.testing.assert_allclose(whole, without, rtol=1e-6)


def test_a_pair_within_a_category_is_taken_off_in_both_directions() -> None:
    ends = np.array([0]), np.array([1])
    whole = affinity([*TENTS_AND_MATS, (0, 1)]).log_ratio(*ends, np.array([1.0], np.float32))
    np.testing.assert_allclose(whole, affinity(TENTS_AND_MATS).log_ratio(*ends), rtol=1e-6)


def test_a_query_is_set_against_many_candidates_at_once() -> None:
    found = affinity(TENTS_AND_MATS)
    table = found.log_ratio(np.array([[0], [3]]), np.array([[3, 4], [0, 6]]))
    assert table.shape == (2, 2)
    assert table[0, 0] == table[0, 1] == table[1, 0]
