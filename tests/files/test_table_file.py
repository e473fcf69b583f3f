from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b" item_id , title\nA1,Pot\nA2,Pan\n"),
        ("t.csv", b"\xef\xbb\xbfitem_id,title\nA1,Pot\nA2,Pan\n"),
        ("t.csv", b",item_id,title\n0,A1,Pot\n1,A2,Pan\n"),
        ("t.csv", b"item_id,title,\nA1,Pot,\nA2,Pan,\n"),
        ("t.csv", b"item_id,title\nA1,Pot,\nA2,Pan,\n"),
        ("t.csv", b"item_id,title\r\nA1,Pot\nA2,Pan\r\n"),
        ("t.csv", b"item_id,title\rA1,Pot\rA2,Pan\r"),
        ("t.csv", b"item_id,title\n\nA1,Pot\n\nA2,Pan\n\n"),
        ("t.json", b'[{"item_id": "A1", "title": "Pot"}, {"item_id": "A2", "title": "Pan"}]'),
        ("t.csv", b'{"item_id": "A1", "title": "Pot"}\n{"item_id": "A2", "title": "Pan"}\n'),
        ("t.jsonl", b'{"item_id": "A1", " title": "Pot"}\n\n{" title": "Pan", "item_id": "A2"}\n'),
        (
            "t.xml",
            b"<rss><channel><item><item_id>A1</item_id><title>Pot</title></item>"
            b"<item><item_id>A2</item_id><title>Pan</title></item></channel></rss>",
        ),
    ],
)
def test_headers_and_lines_of_many_programs(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    table = read_table_file(tmp_path / name)
    assert [table["item_id"], table["title"]] == [["A1", "A2"], ["Pot", "Pan"]]


@pytest.mark.parametrize(
    ("content", "titles"),
    [
        (b'item_id,title\nA1,"12\\" pot, steel"\nA2,"10\\" pan"\n', ['12" pot, steel', '10" pan']),
        (b'item_id,title\nA1,19" rack\nA2,"19"" rack"\n', ['19" rack', '19" rack']),
        (b"item_id,title\nA1,Steel\rpot\nA2,Pan\n", ["Steel pot", "Pan"]),
        (b'item_id,title\nA1,"two\nlines"\nA2,Pan\n', ["two\nlines", "Pan"]),
        (b'item_id,title\nA1,"Pro" pan\nA2,Pan\n', ["Pro pan", "Pan"]),
    ],
)
def test_quotes_and_carriage_returns_within_fields(tmp_path: Path, content: bytes, titles: list[str]) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert read_table_file(tmp_path / "t.csv")["title"] == titles


@pytest.mark.parametrize("content", [b"a,b\n1,2\n3\n", b"a,b\n1,2\n3,4,5\n", b'a,b\n1,2\n3,"4\n'])
def test_a_row_that_does_not_fit_is_named_by_its_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match="line 3"):
        read_table_file(tmp_path / "t.csv")


def test_a_column_is_found_whatever_its_case(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("ITEM_ID,Image Url,a,A\n1,2,3,4\n")
    table = read_table_file(tmp_path / "t.csv")
    assert [table.find(name) for name in ("item_id", "image_url", "a", "title")] == ["ITEM_ID", "Image Url", "a", None]


def test_packings_are_told_by_the_first_bytes(tmp_path: Path) -> None:
    text = b"item_id\nA1\n"
    (tmp_path / "a.csv").write_bytes(gzip.compress(text))
    (tmp_path / "b.csv.gz").write_bytes(text)
    with pa.CompressedOutputStream(str(tmp_path / "c.csv.zst"), "zstd") as file:
        file.write(text)
    assert all(read_table_file(tmp_path / name)["item_id"] == ["A1"] for name in ("a.csv", "b.csv.gz", "c.csv.zst"))
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(gzip.compress(text)))
    with pytest.raises(InputError, match="packed as gzip within another packing"):
        read_table_file(tmp_path / "d.csv.gz")


def test_parquet_text_is_utf8_whatever_it_is_called(tmp_path: Path) -> None:
    pq.write_table(pa.table({"title": pa.array(["Töpfchen".encode(), None], pa.binary())}), tmp_path / "t.parquet")
    assert read_table_file(tmp_path / "t.parquet")["title"] == ["Töpfchen", None]
    pq.write_table(pa.table({"title": pa.array([b"caf\xe9"], pa.binary())}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column title"):
        read_table_file(tmp_path / "t.parquet")["title"]
