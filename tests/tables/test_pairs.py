from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.pairs import STRENGTHS, Pairs


def _strengths(*values: float) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


# 0-1 viewed one way, 0-2 bought the other way, 1-2 both, 1-3 neither.
PAIRS = Pairs(
    a=np.asarray([0, 0, 1, 1], np.int32),
    b=np.asarray([1, 2, 2, 3], np.int32),
    view_ab=_strengths(0.5, 0, 1, 0),
    view_ba=_strengths(0, 0, 2, 0),
    buy_ab=_strengths(0, 0, 3, 0),
    buy_ba=_strengths(0, 0.25, 1, 0),
    split=np.asarray(["train", "test", "valid", "train"]),
)


def test_pairs_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    PAIRS.write(path)
    found = Pairs.read(path)
    for name in ("a", "b", *STRENGTHS, "split"):
        np.testing.assert_array_equal(getattr(found, name), getattr(PAIRS, name))
        assert getattr(found, name).dtype.kind == getattr(PAIRS, name).dtype.kind
    assert found.a.dtype == np.int32
    assert found.view_ab.dtype == np.float32


def test_numbers_of_sessions_survive_a_round_trip_and_older_files_have_none(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    counted = replace(PAIRS, views_together=np.array([4, 0, 44, 0], np.int32))
    counted.write(path)
    assert Pairs.read(path).together("substitute").tolist() == [4, 0, 44, 0]
    assert Pairs.read(path).of("valid").together("substitute").tolist() == [44]
    pq.write_table(pq.read_table(path).drop_columns(["views_together", "purchases_together"]), path)
    older = Pairs.read(path)
    assert older.together("substitute").tolist() == [0, 0, 0, 0]
    assert older.together("substitute").dtype == np.int32


def test_strength_is_that_of_the_stronger_direction() -> None:
    assert PAIRS.strength("substitute").tolist() == [0.5, 0, 2, 0]
    assert PAIRS.strength("complement").tolist() == [0, 0.25, 3, 0]
    assert PAIRS.holds("substitute").tolist() == [True, False, True, False]
    assert PAIRS.ambiguous().tolist() == [False, False, True, False]


def test_pairs_are_chosen_by_split() -> None:
    assert PAIRS.of("train").b.tolist() == [1, 3]
    assert PAIRS.of("valid", "test").b.tolist() == [2, 2]
    assert len(PAIRS.of()) == 0


@pytest.mark.parametrize("weighted", [True, False])
def test_adjacency_is_symmetric_and_holds_the_pairs_of_its_relation(weighted: bool) -> None:
    matrix = PAIRS.adjacency("complement", 5, weighted=weighted).toarray()
    expected = np.zeros((5, 5), np.float32)
    expected[0, 2], expected[1, 2] = (0.25, 3) if weighted else (1, 1)
    np.testing.assert_array_equal(matrix, expected + expected.T)
    assert matrix.dtype == np.float32


def test_what_is_no_pair_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    with pytest.raises(WorkspaceError, match="cannot be read as a pair table"):
        Pairs.read(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(WorkspaceError, match="cannot be read as a pair table"):
        Pairs.read(path)
    pq.write_table(pa.table({"a": [1], "b": [2]}), path)
    with pytest.raises(WorkspaceError, match="no column 'buy_ab'") as caught:
        Pairs.read(path)
    assert "mmsc prepare" in str(caught.value.hint)
