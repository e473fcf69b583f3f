"""What a later round asks about: answers of a model that was trained in between."""

from __future__ import annotations

import numpy as np
import pytest

from mmsc_cli.arrays.pair_keys import pair_keys
from mmsc_cli.index.index_file import Index
from mmsc_cli.label.candidates import PairsToAsk
from mmsc_cli.label.shown import choose_shown
from tests.fixtures.ring_index import ring_index

ITEMS, ANSWERS = 60, 40


@pytest.fixture(scope="module")
def index() -> Index:
    """Every item has the 40 items behind it as candidates, the nearest first, and a student who thinks the reverse."""
    falling, rising = (np.tile(np.linspace(*ends, ANSWERS), (ITEMS, 1)) for ends in ((1, 0), (0, 1)))
    return ring_index(falling, rising, known=[[1], [0]])


def asked_by(chosen: PairsToAsk, strategy: str) -> set[tuple[int, int]]:
    of_strategy = chosen.strategy == strategy
    return set(zip(chosen.a[of_strategy].tolist(), chosen.b[of_strategy].tolist(), strict=True))


def test_a_third_each_is_shown_often_shown_seldom_and_disputed(index: Index) -> None:
    degree = np.ones(ITEMS, np.int64)
    degree[30], degree[10] = 1_000, 0
    chosen = choose_shown(index, degree, np.zeros(0, np.int64), 30, seed=1)
    assert chosen.mix() == {"traffic": 10, "tail": 10, "disputed": 10}
    assert asked_by(chosen, "traffic") == {(30, 31 + place) for place in range(10)}
    assert {(10, 11)} <= asked_by(chosen, "tail")
    # The best of one is the last of the other.
    distances = {min((b - a) % ITEMS, (a - b) % ITEMS) for a, b in asked_by(chosen, "disputed")}
    assert distances <= {1, 20}


def test_nothing_is_asked_twice_nor_what_the_model_was_trained_on(index: Index) -> None:
    degree = np.arange(ITEMS)
    first = choose_shown(index, degree, np.zeros(0, np.int64), 100, seed=1)
    keys = pair_keys(first.a, first.b, ITEMS)
    assert len(np.unique(keys)) == 100
    assert 1 not in keys  # (0, 1) is known
    second = choose_shown(index, degree, keys, 100, seed=1)
    assert not np.isin(pair_keys(second.a, second.b, ITEMS), keys).any()
