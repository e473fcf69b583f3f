from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsc_cli.errors import InputError
from mmsc_cli.files import line_blocks
from mmsc_cli.files.line_blocks import LineBlock, LineBlocks

CONTENT = b"".join(b"line %d\n" % number for number in range(1_000))


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("end", [b"", b"the last has no end"])
def test_blocks_are_whole_lines_with_their_numbers(tmp_path: Path, packed: bool, end: bytes) -> None:
    content = CONTENT + end
    path = _write(tmp_path / "x", gzip.compress(content) if packed else content)
    blocks = list(LineBlocks(path, block_bytes=500))
    assert b"".join(block.content for block in blocks) == content
    assert all(block.content.endswith(b"\n") for block in blocks[:-1])
    for block in blocks:
        assert content.splitlines()[block.first - 1] == block.content.splitlines()[0]


def test_members_of_a_gzip_and_zeros_behind_it_are_one_stream(tmp_path: Path) -> None:
    path = _write(tmp_path / "x", gzip.compress(b"one\n") + gzip.compress(b"two\n") + b"\0" * 600)
    assert list(LineBlocks(path)) == [LineBlock(1, b"one\ntwo\n")]


@given(cut=st.integers(2, len(gzip.compress(CONTENT, mtime=0)) - 1))
@settings(max_examples=60, deadline=None)
def test_wherever_a_gzip_is_cut_its_whole_lines_are_kept(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = _write(tmp_path_factory.mktemp("cut") / "x", gzip.compress(CONTENT, mtime=0)[:cut])
    blocks = LineBlocks(path, allow_truncated=True)
    kept = b"".join(block.content for block in blocks)
    assert CONTENT.startswith(kept)
    assert kept == b"" or kept.endswith(b"\n")
    assert blocks.truncated_after == kept.count(b"\n")
    with pytest.raises(InputError, match=f"breaks after record {blocks.truncated_after}: the file ends before"):
        list(LineBlocks(path))


def test_all_that_a_damaged_gzip_still_holds_is_counted(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(CONTENT, mtime=0))
    content[-6] ^= 1  # in the check sum: every line is there
    path = _write(tmp_path / "x", bytes(content))
    with pytest.raises(InputError, match=r"breaks after record 1000: .*incorrect data check"):
        list(LineBlocks(path, allow_truncated=True))


def test_a_well_packed_bomb_of_one_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_blocks, "_LONGEST_LINE", 1 << 20)
    monkeypatch.setattr(line_blocks, "_UNPACKED_BYTES", 1 << 16)
    path = _write(tmp_path / "x", gzip.compress(b"fine\n" + b"x" * (64 << 20)))
    with pytest.raises(InputError, match=r"record \d is longer than 1 MiB"):
        list(LineBlocks(path, block_bytes=1_000))
