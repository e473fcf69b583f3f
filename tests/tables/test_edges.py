from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.edges import Edges


@pytest.fixture
def written(tmp_path: Path) -> Path:
    edges = Edges(
        np.asarray([0, 1], np.int32),
        np.asarray([2, 3], np.int32),
        {"substitute": np.asarray([1.5, 0], np.float32), "complement": np.asarray([0.5, 2], np.float32)},
        {"substitute": np.asarray([0.25, np.nan], np.float32), "complement": np.asarray([0.75, 1], np.float32)},
    )
    edges.write(tmp_path / "edges.parquet")
    return tmp_path / "edges.parquet"


def test_edges_come_back_as_they_were(written: Path) -> None:
    edges = Edges.read(written)
    assert len(edges) == 2
    assert edges.b.tolist() == [2, 3]
    np.testing.assert_array_equal(edges.strength["complement"], [0.5, 2])
    np.testing.assert_array_equal(edges.reliability["substitute"], [0.25, np.nan])


def test_a_relation_a_pair_was_never_seen_in_has_no_reliability_in_the_file(written: Path) -> None:
    assert pq.read_table(written)["reliability_substitute"].to_pylist() == [0.25, None]


def test_another_table_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "edges.parquet")
    with pytest.raises(WorkspaceError, match="cannot be read as an edge table") as error:
        Edges.read(tmp_path / "edges.parquet")
    assert error.value.hint == "run `mmsc train`"
    with pytest.raises(WorkspaceError, match="nowhere"):
        Edges.read(tmp_path / "nowhere.parquet")
