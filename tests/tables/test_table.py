"""A Parquet file of a workspace that was made to fill the memory."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.table import ArtefactTable

TABLE = ArtefactTable(pa.schema([pa.field("night", pa.int8())]), "nights", "mmsc evaluate")


def _equal_rows(path: Path) -> None:
    pq.write_table(pa.table({"night": np.zeros(40_000_000, np.int8)}), path, compression="zstd")


def _more_rows_in_its_parts(path: Path) -> None:
    """The footer says of the only group of rows that it has 14 billion."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"night": np.zeros(12, np.int8)}), sink)
    content = sink.getvalue()
    twelve, many = b"\x16\x18", b"\x16\xe6\xa9\xe0\xe9\x6d"  # a field of 64 bits, zigzag
    start = content.rfind(twelve)
    length = int.from_bytes(content[-8:-4], "little") + len(many) - len(twelve)
    path.write_bytes(
        content[:start] + many + content[start + len(twelve) : -8] + length.to_bytes(4, "little") + content[-4:]
    )
    assert pq.read_metadata(path).row_group(0).num_rows > 10**10


@pytest.mark.parametrize("write", [_equal_rows, _more_rows_in_its_parts])
def test_a_file_of_more_rows_than_it_can_hold_is_refused(tmp_path: Path, write: object) -> None:
    assert callable(write)
    path = tmp_path / "answers.parquet"
    write(path)
    for read in (TABLE.read, TABLE.open):
        with pytest.raises(WorkspaceError, match=r"rows than the whole|times as large"):
            read(path)
