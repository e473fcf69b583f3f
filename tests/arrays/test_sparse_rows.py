from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import greatest


def scores() -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    return (random.random((6, 20)) * (random.random((6, 20)) < 0.4)).astype(np.float32)


def test_the_greatest_entries_in_units_of_their_spread() -> None:
    found = greatest(scores(), keep=4).toarray()
    for row, kept in zip(scores(), found, strict=True):
        best = np.argsort(-row)[:4]
        expected = np.zeros(20)
        expected[best] = row[best] / row[best].std()
        np.testing.assert_allclose(kept, expected, rtol=1e-4)


def test_sparse_and_dense_rows_give_the_same() -> None:
    for keep in (2, 12, 50):
        dense, thin = greatest(scores(), keep), greatest(sparse.csr_array(scores()), keep)
        np.testing.assert_allclose(dense.toarray(), thin.toarray(), rtol=1e-5)


def test_entries_below_zero_are_never_kept() -> None:
    assert greatest(np.array([[-1.0, -2.0, 3.0]], np.float32), keep=2).toarray()[0].tolist()[:2] == [0, 0]
