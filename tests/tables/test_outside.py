from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.outside import OUTSIDE_SCHEMA, Outside


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    """Items 0 and 2 with partners 0 and 1; item 0 says partner 0 in both directions."""
    rows = [
        (0, 0, "complement", "from_outside", 2.0),
        (0, 0, "complement", "to_outside", 1.0),
        (0, 1, "substitute", "to_outside", 0.5),
        (2, 0, "complement", "to_outside", 3.0),
        (2, 1, "substitute", "from_outside", 4.0),
    ]
    columns = dict(zip(OUTSIDE_SCHEMA.names, zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table(columns, schema=OUTSIDE_SCHEMA), tmp_path / "outside.parquet")
    return Outside.read(tmp_path / "outside.parquet")


def test_strengths_of_both_directions_are_one_matrix_a_relation(outside: Outside) -> None:
    assert outside.matrix("complement", 4).toarray().tolist() == [[2, 0], [0, 0], [3, 0], [0, 0]]
    assert outside.matrix("substitute", 4).toarray().tolist() == [[0, 0.5], [0, 0], [0, 4], [0, 0]]
    assert outside.outward.tolist() == [False, True, True, True, False]


def test_rows_of_cold_items_can_be_left_out(outside: Outside) -> None:
    warm = outside.of_items(np.array([True, True, False, True]))
    assert warm.item.tolist() == [0, 0, 0]
    assert warm.matrix("complement", 4).toarray()[2].sum() == 0


def test_an_empty_table_has_no_partners(tmp_path: Path) -> None:
    pq.write_table(OUTSIDE_SCHEMA.empty_table(), tmp_path / "outside.parquet")
    outside = Outside.read(tmp_path / "outside.parquet")
    assert (len(outside), outside.n_outside, outside.matrix("substitute", 3).shape) == (0, 0, (3, 0))


def test_another_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "outside.parquet")
    with pytest.raises(WorkspaceError, match="outside table"):
        Outside.read(tmp_path / "outside.parquet")
