from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.truth import TRUTH_SCHEMA, Truth


@pytest.fixture
def written(tmp_path: Path) -> Path:
    columns = [[1, 0, 0], [2, 3, 1], [True, False, False], [False, True, True], [None, "b_to_a", "both"]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, TRUTH_SCHEMA, strict=True)]
    pq.write_table(pa.table(arrays, schema=TRUTH_SCHEMA), tmp_path / "truth.parquet")
    return tmp_path / "truth.parquet"


def test_pairs_are_found_whatever_the_order_of_the_table(written: Path) -> None:
    truth = Truth.read(written)
    a, b = np.asarray([0, 0, 1, 2]), np.asarray([1, 3, 2, 3])
    assert truth.find(a, b, 4).tolist() == [2, 1, 0, -1]
    assert truth.of_pairs("substitute", a, b, 4).tolist() == [False, False, True, False]
    assert truth.of_pairs("complement", a, b, 4).tolist() == [True, True, False, False]
    assert truth.direction.tolist() == ["", "b_to_a", "both"]


def test_nothing_is_true_where_the_table_is_empty(tmp_path: Path) -> None:
    pq.write_table(TRUTH_SCHEMA.empty_table(), tmp_path / "truth.parquet")
    truth = Truth.read(tmp_path / "truth.parquet")
    assert len(truth) == 0
    assert truth.of_pairs("complement", np.asarray([0]), np.asarray([1]), 4).tolist() == [False]


def test_another_table_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "truth.parquet")
    with pytest.raises(WorkspaceError, match="cannot be read as a truth table"):
        Truth.read(tmp_path / "truth.parquet")
