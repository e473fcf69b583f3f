"""Reading questions."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.files.lines import LONGEST_LINE, Line, parse_pair, read_ids, read_lines


def _lines(source: Path | str) -> list[tuple[int, str]]:
    """Line numbers and texts; of a line that cannot be used, its message."""
    found = [line for batch in read_lines(str(source)) for line in batch]
    return [(line.number, line.text) if isinstance(line, Line) else (-1, line.message) for line in found]


def test_lines_keep_their_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ids"
    path.write_text("A\n\n  B \r\nC", encoding="utf-8")

    with caplog.at_level("INFO", "mmsc_cli"):
        assert _lines(path) == [(1, "A"), (3, "B"), (4, "C")]
    assert "empty lines passed over: 1" in caplog.text


def test_a_mark_of_utf8_is_no_part_of_an_id(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_text("A\nB\n", encoding="utf-8-sig")

    assert _lines(path) == [(1, "A"), (2, "B")]


def test_a_dash_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"A\nB\n")))

    assert _lines("-") == [(1, "A"), (2, "B")]


def test_a_closed_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(InputError, match="stdin is closed"):
        read_lines("-")


def test_a_missing_file_is_told_before_anything_is_read(tmp_path: Path) -> None:
    for source in ("nowhere.txt", str(tmp_path)):
        with pytest.raises(InputError, match="no file at"):
            read_lines(source)


def test_a_named_pipe_is_read_as_it_fills(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    batches = read_lines(f"/dev/fd/{reader}")
    for text in ("A\nB\nhalf of ", "C\n"):
        os.write(writer, text.encode())
        batch = next(batches)
        assert [line.text for line in batch if isinstance(line, Line)] == (["A", "B"] if "A" in text else ["half of C"])
    os.close(writer)
    assert list(batches) == []
    os.close(reader)


def test_a_line_that_is_no_text_is_an_error_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_bytes(b"A\ncaf\xe9\nB\0B\nC\n")

    assert _lines(path) == [(1, "A"), (-1, f"{path}:2: not UTF-8"), (-1, f"{path}:3: holds NUL bytes"), (4, "C")]


@pytest.mark.parametrize("size", [LONGEST_LINE + 1, 3 * LONGEST_LINE, 3 * LONGEST_LINE + 12_345])
@pytest.mark.parametrize("last", [True, False])
def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, size: int, last: bool) -> None:
    path = tmp_path / "ids"
    path.write_bytes(b"A\n" + b"x" * size + (b"" if last else b"\nB\n"))

    told = (-1, f"{path}:2: longer than 1,048,576 bytes")
    assert _lines(path) == [(1, "A"), told, *([] if last else [(3, "B")])]


def test_a_line_of_the_greatest_length_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_bytes(b"x" * LONGEST_LINE + b"\nB\n")

    assert [number for number, _ in _lines(path)] == [1, 2]


def test_a_list_of_ids_must_be_whole(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_bytes(b"A\nB\n")
    assert list(read_ids(str(path))) == ["A", "B"]
    path.write_bytes(b"A\n\xff\n")

    with pytest.raises(InputError, match="ids:2"):
        list(read_ids(str(path)))


def test_a_list_of_ids_is_read_as_a_table_of_items(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text('"item_id"\n"00123"\n="00124"\n"A,B"\nCafe\u0301\n19"\n', encoding="utf-8")
    assert list(read_ids(str(path))) == ["item_id", "00123", "00124", "A,B", "Café", '19"']
    path.write_text("sku\n101.0\n102.0\n", encoding="utf-8")
    assert list(read_ids(str(path))) == ["sku", "101", "102"]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("A\tB", ("A", "B")),
        ("A,B", ("A", "B")),
        ("A  B", ("A", "B")),
        ("A , B", ("A", "B")),
        ("A 1\tB,2", ("A 1", "B,2")),
        ('"A,B",C', ("A,B", "C")),
        ('"A B" C', ("A B", "C")),
        ('"A;""B""";C 1', ('A;"B"', "C 1")),
        ('19" rack\tB', ('19" rack', "B")),
        ('"odd\tB', ('"odd', "B")),
    ],
)
def test_pairs_are_separated_by_a_tab_a_comma_or_blanks(text: str, ends: tuple[str, str]) -> None:
    assert parse_pair(Line("pairs:1", 1, text)) == ends


@pytest.mark.parametrize("text", ["A", "A B C", "A\tB\tC", ","])
def test_a_line_without_two_ids_is_named(text: str) -> None:
    with pytest.raises(InputError, match=r"stdin:7: two ids expected"):
        parse_pair(Line("stdin:7", 7, text))
