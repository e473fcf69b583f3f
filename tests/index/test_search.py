"""Exact search finds what sorting everything finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmsc_cli.arrays.top import best_rows
from mmsc_cli.index.ranking import BLOCK_BYTES, block_size


def _sorted(scores: NDArray[np.float32], k: int) -> list[int]:
    order = np.lexsort((np.arange(len(scores)), -scores))[:k]
    return [int(row) for row in order if scores[row] > -np.inf]


@settings(deadline=None)
@given(st.integers(1, 3_000), st.integers(1, 400), st.integers(0, 10_000), st.sampled_from([2, 50, 10**6]))
def test_the_best_rows_are_those_of_a_full_sort(items: int, k: int, seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, items).astype(np.float32)
    scores[generator.random(items) < generator.random()] = -np.inf

    assert best_rows(scores, k).tolist() == _sorted(scores, k)


def test_blocks_fit_their_memory() -> None:
    assert block_size(1) > block_size(100_000) > block_size(1_000_000) >= 1
    assert block_size(10**9) == 1
    assert block_size(100_000) * 100_000 * 4 <= BLOCK_BYTES
