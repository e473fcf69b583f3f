"""Reading questions."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.infer.lines import parse_pair, read_lines


def test_lines_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_text("A\n\n  B \n", encoding="utf-8")

    assert list(read_lines(str(path))) == [(1, "A"), (3, "B")]


def test_a_dash_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("A\nB\n"))

    assert list(read_lines("-")) == [(1, "A"), (2, "B")]


def test_a_missing_file_is_told_before_anything_is_read() -> None:
    with pytest.raises(InputError, match=r"no file at nowhere\.txt"):
        read_lines("nowhere.txt")


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_bytes(b"caf\xe9\n")

    with pytest.raises(InputError, match="not UTF-8"):
        list(read_lines(str(path)))


@pytest.mark.parametrize("line", ["A\tB", "A,B", "A B", " A , B "])
def test_pairs_are_separated_by_a_tab_a_comma_or_blanks(line: str) -> None:
    assert parse_pair("pairs", 1, line) == ("A", "B")


@pytest.mark.parametrize("line", ["A", "A B C"])
def test_a_line_without_two_ids_is_named(line: str) -> None:
    with pytest.raises(InputError, match=r"stdin:7: two ids expected"):
        parse_pair("-", 7, line)
