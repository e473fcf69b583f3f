from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.labels import LABEL_SCHEMA, Labels


def made_up(count: int) -> Labels:
    half = np.full(count, 0.5, np.float32)
    return Labels(
        a=np.arange(count, dtype=np.int32),
        b=np.arange(count, dtype=np.int32) + 1,
        p_substitute=half,
        p_complement=half,
        p_neither=0 * half,
        direction=np.array(["a_to_b", "", "both"][:count], dtype=np.str_),
        model=np.full(count, "m"),
        prompt_version=np.full(count, "v"),
        label_mass=half,
        agreement=half,
    )


@pytest.mark.parametrize("count", [0, 3])
def test_what_is_written_is_read(tmp_path: Path, count: int) -> None:
    labels = made_up(count)
    labels.write(tmp_path / "labels.parquet")
    again = Labels.read(tmp_path / "labels.parquet")
    for name in LABEL_SCHEMA.names:
        assert_array_equal(getattr(again, name), getattr(labels, name))
    assert again.probabilities().shape == (count, 3)


def test_no_direction_is_null_in_the_file(tmp_path: Path) -> None:
    made_up(3).write(tmp_path / "labels.parquet")
    table = pq.read_table(tmp_path / "labels.parquet")
    assert table.schema.equals(LABEL_SCHEMA)
    assert table["direction"].to_pylist() == ["a_to_b", None, "both"]


def test_a_file_that_is_no_label_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    with pytest.raises(WorkspaceError, match=r"labels\.parquet cannot be read"):
        Labels.read(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(WorkspaceError, match=r"labels\.parquet cannot be read"):
        Labels.read(path)
