from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.files.table_file import read_table_file


@pytest.mark.parametrize(
    ("name", "separator"),
    [("t.csv", ","), ("t.csv", ";"), ("t.csv", "|"), ("t.csv", "\t"), ("t.tsv", "\t"), ("t.txt", ";")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_separated_values_are_read_as_text(tmp_path: Path, name: str, separator: str, packed: bool) -> None:
    content = f'item_id{separator}title\r\n00123{separator}"a, b; c"\r\nNA{separator}\r\n'.encode()
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert dict(read_table_file(path)) == {"item_id": ["00123", "NA"], "title": ["a, b; c", ""]}


def test_one_column_needs_no_separator(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("item_id\nA1\nB2\n")
    assert read_table_file(path)["item_id"] == ["A1", "B2"]


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("item_id,title\nA1,x\n", encoding="utf-8-sig")
    assert list(read_table_file(path)) == ["item_id", "title"]


@pytest.mark.parametrize(("separator", "name"), [(",", "t.csv"), ("\t", "t.tsv")])
def test_what_is_not_utf8_is_named_by_line_and_column(tmp_path: Path, separator: str, name: str) -> None:
    path = tmp_path / name
    lines = ["item_id,title,brand", 'A1,"x, y",fine', 'B2,"x, y",caf\xe9']
    cells = [line.replace(", ", "@").replace(",", separator).replace("@", ", ") for line in lines]
    path.write_bytes("\n".join(cells).encode("latin-1"))
    with pytest.raises(InputError, match="line 3, column brand: byte 0xe9 is not UTF-8") as caught:
        read_table_file(path)
    assert "UTF-8" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "not readable as csv"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "line 3, saw 3"),
        ("t.csv", b"a,b\n1,2,3\n", "not readable as csv"),
        ("t.csv.gz", b"\x1f\x8bno gzip", "not readable as csv"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "not readable as csv"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2: Expecting value"),
        ("t.jsonl", b'[{"a": 1}]\n', "line 1: not a JSON object"),
        ("t.jsonl", b'{"b": 1}\n{"a": "caf\xe9"}\n', "line 2, column a: byte 0xe9 is not UTF-8"),
        ("t.jsonl", b'{"b\xe9', "line 1, unknown column: byte 0xe9 is not UTF-8"),
        ("t.parquet", b"a,b\n1,2\n", "not readable as parquet"),
        ("t.xlsx", b"PK", "unknown kind of file"),
        ("items", b"a,b\n1,2\n", "unknown kind of file"),
    ],
)
def test_what_the_ending_does_not_say_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_table_file(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no file at {tmp_path / 'gone.csv'}"):
        read_table_file(tmp_path / "gone.csv")


def test_parquet_keeps_whole_numbers_where_some_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"item_id": pd.array([2**60 + 1, None], dtype="Int64")}).to_parquet(path)
    assert read_table_file(path)["item_id"] == [2**60 + 1, None]
