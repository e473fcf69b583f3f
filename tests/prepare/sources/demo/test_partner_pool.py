from __future__ import annotations

import numpy as np

from mmsc_cli.prepare.sources.demo.shoppers import PartnerPool


def test_draws_follow_the_weights_and_stay_with_the_item() -> None:
    source, target = np.array([2, 0, 0, 2]), np.array([1, 3, 2, 0])
    pool = PartnerPool(source, target, np.array([1.0, 3.0, 1.0, 0.0]), 4, np.random.default_rng(1))
    drawn = pool.draw(np.repeat([0, 2], 4_000))
    assert set(drawn[:4_000]) == {2, 3}
    assert abs(np.mean(drawn[:4_000] == 3) - 0.75) < 0.03
    assert set(drawn[4_000:]) == {1}


def test_nothing_to_draw_from_is_minus_one() -> None:
    pool = PartnerPool(np.array([1]), np.array([0]), np.ones(1), 3, np.random.default_rng(1))
    assert pool.draw(np.array([0, 1, 2, -1])).tolist() == [-1, 0, -1, -1]
    empty = np.array([], np.int64)
    pool = PartnerPool(empty, empty, np.array([]), 2, np.random.default_rng(1))
    assert pool.draw(np.array([0, 1])).tolist() == [-1, -1]
