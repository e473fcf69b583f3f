from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.items import (
    ITEM_SCHEMA,
    count_items,
    full_text,
    item_batches,
    item_splits,
    read_items,
    take_items,
    write_items,
)

HAT: dict[str, Any] = {
    "item_id": "00123",
    "title": "Hat",
    "description": "Warm.",
    "brand": "Woolly",
    "category": ["Clothes", "Hats"],
    "price": 12.5,
    "image_url": "https://x.example/1.jpg",
    "image_path": "images/1.jpg",
    "group": "hats",
    "split": "warm",
}
BARE: dict[str, Any] = {
    "item_id": "7",
    "title": "",
    "description": "",
    "brand": "",
    "category": [],
    "price": math.nan,
    "image_url": None,
    "image_path": None,
    "group": None,
    "split": "cold_test",
}
ITEMS = pa.Table.from_pylist([HAT, BARE], schema=ITEM_SCHEMA)


def test_items_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, ITEMS.select(ITEM_SCHEMA.names[::-1]))
    table = read_items(path)
    assert table.schema.equals(ITEM_SCHEMA)
    rows = table.to_pylist()
    assert rows[0] == HAT
    assert math.isnan(rows[1].pop("price"))
    assert rows[1] == {name: value for name, value in BARE.items() if name != "price"}
    assert read_items(path, columns=["item_id"]).column_names == ["item_id"]


def test_full_text_leaves_out_what_is_empty() -> None:
    assert full_text(ITEMS) == ["Hat. Woolly. Clothes > Hats. Warm.", ""]


def test_splits_are_an_array() -> None:
    assert item_splits(ITEMS).tolist() == ["warm", "cold_test"]


def test_a_missing_value_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    columns = dict(zip(ITEMS.column_names, ITEMS.columns, strict=True))
    columns["title"] = pa.array(["Hat", None], pa.string())
    with pytest.raises((pa.ArrowException, ValueError), match="null"):
        write_items(tmp_path / "items.parquet", pa.table(columns))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_item_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    with pytest.raises(WorkspaceError, match="cannot be read as an item table"):
        read_items(path)
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(WorkspaceError, match="cannot be read as an item table"):
        read_items(path)
    pq.write_table(pa.table({"item_id": ["1"]}), path)
    with pytest.raises(WorkspaceError, match="no column 'brand'"):
        read_items(path)
    with pytest.raises(WorkspaceError, match="no column 'title'") as caught:
        read_items(path, columns=["item_id", "title"])
    assert "mmsc prepare" in str(caught.value.hint)


def test_rows_are_read_some_at_a_time(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([HAT | {"item_id": f"{row:02}"} for row in range(10)], schema=ITEM_SCHEMA)
    write_items(tmp_path / "items.parquet", table)
    assert count_items(tmp_path / "items.parquet") == 10
    batches = list(item_batches(tmp_path / "items.parquet", ["item_id"], 2, 9, rows=3))
    assert max(map(len, batches)) == 3
    assert pa.concat_tables(batches)["item_id"].to_pylist() == table["item_id"].to_pylist()[2:9]
    rows = np.array([1, 4, 8])
    taken = pa.concat_tables(take_items(tmp_path / "items.parquet", ["item_id"], rows))
    assert taken["item_id"].to_pylist() == [table["item_id"][row].as_py() for row in rows]
    assert not list(take_items(tmp_path / "items.parquet", ["item_id"], rows[:0]))


def test_a_table_made_before_there_were_groups_is_read(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(ITEMS.drop(["group"]), path)
    assert read_items(path)["group"].to_pylist() == [None, None]
