from __future__ import annotations

import numpy as np

from mmsc_cli.prepare.sources.demo.shoppers import Events, ranked_lists


def test_most_frequent_first_cut_off_and_one_timers_left_out() -> None:
    target = np.array([1, 2, 2, 2, 3, 3, 4, 5])
    events = Events(np.zeros(8, np.int64), target)
    edges = ranked_lists(events, 6, 30, np.random.default_rng(1))
    assert edges.target.tolist() == [2, 3]
    np.testing.assert_allclose(edges.strength, [1.5, 0.5 + 1 / np.log2(3)], rtol=1e-6)
    assert ranked_lists(events, 6, 1, np.random.default_rng(1)).target.tolist() == [2]


def test_a_single_event_is_better_than_no_list() -> None:
    events = Events(np.array([3, 5]), np.array([5, 1]))
    edges = ranked_lists(events, 6, 30, np.random.default_rng(1))
    assert list(zip(edges.source.tolist(), edges.target.tolist(), strict=True)) == [(3, 5), (5, 1)]
    assert edges.strength.dtype == np.float32
