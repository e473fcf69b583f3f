from __future__ import annotations

import numpy as np

from mmsc_cli.arrays.pair_keys import find_keys, find_pairs, pair_keys


def test_both_directions_of_a_pair_have_one_key_and_no_two_pairs_share_one() -> None:
    a, b = (side.ravel() for side in np.meshgrid(np.arange(7), np.arange(7)))
    keys = pair_keys(a, b, 7)

    np.testing.assert_array_equal(keys, pair_keys(b, a, 7))
    assert len(np.unique(keys)) == 7 * 8 // 2
    np.testing.assert_array_equal(np.divmod(keys, 7), (np.minimum(a, b), np.maximum(a, b)))


def test_keys_of_a_large_catalogue_do_not_overflow() -> None:
    assert pair_keys(np.array([3_000_000], np.int32), np.array([2_999_999], np.int32), 3_000_001).tolist() == [
        2_999_999 * 3_000_001 + 3_000_000
    ]


def test_pairs_are_found_where_they_are_in_either_direction() -> None:
    known_a, known_b = np.array([4, 0, 2], np.int32), np.array([5, 9, 3], np.int32)
    position = find_pairs(known_a, known_b, np.array([0, 3, 9, 9]), np.array([9, 2, 8, 0]), 10)

    assert position.tolist() == [1, 2, -1, 1]


def test_nothing_is_found_among_nothing() -> None:
    assert find_keys(np.zeros(0, np.int64), np.array([0, 7])).tolist() == [-1, -1]
    assert find_keys(np.array([7]), np.zeros(0, np.int64)).tolist() == []
