from __future__ import annotations

import numpy as np

from mmsc_cli.arrays.rows import reciprocal


def test_nothing_is_divided_by_zero() -> None:
    found = reciprocal(np.array([0, 0.5, 4], np.float32))

    assert found.tolist() == [0, 2, 0.25]
    assert found.dtype == np.float32
