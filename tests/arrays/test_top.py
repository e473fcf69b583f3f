from __future__ import annotations

import numpy as np
import pytest

from mmsc_cli.arrays.top import rank_in_group, top_columns


@pytest.mark.parametrize("count", [0, 1, 5, 12, 40])
def test_the_columns_of_the_highest_scores(count: int) -> None:
    scores = np.random.default_rng(count).permutation(36).reshape(3, 12).astype(np.float32)
    columns = top_columns(scores, count)

    assert columns.shape == (3, min(count, 12))
    np.testing.assert_array_equal(np.sort(columns), np.sort(np.argsort(-scores, axis=1)[:, :count]))


def test_ranks_start_anew_in_each_group() -> None:
    assert rank_in_group(np.array([2, 2, 2, 5, 7, 7])).tolist() == [0, 1, 2, 0, 0, 1]
