from __future__ import annotations

import numpy as np
from scipy import sparse

from mmsc_cli.index.storage import SparseRows


def test_values_of_many_columns_of_a_row_are_those_of_each_pair() -> None:
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((40, 40)) < 0.2, rng.random((40, 40)), 0).astype(np.float32)
    matrix = sparse.csr_array(dense)
    entries = SparseRows(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)
    rows = rng.permutation(40)[:25]
    places, columns = rng.integers(0, 25, 500), rng.integers(0, 40, 500)
    found = entries.values_in(rows, places, columns)
    np.testing.assert_array_equal(found, dense[rows[places], columns])
    np.testing.assert_array_equal(found, entries.values_at(rows[places], columns))
    assert entries.values_in(rows[:0], places[:0], columns[:0]).shape == (0,)
