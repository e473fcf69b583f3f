"""Files of the user that did not change are not read for their digest again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmsc_cli.workspace import kept_digests
from mmsc_cli.workspace.checksums import digest
from mmsc_cli.workspace.kept_digests import FILE, KeptDigests

AN_HOUR_AGO = 1_700_000_000


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that are read through."""
    names: list[str] = []

    def note(path: Path) -> str:
        names.append(path.name)
        return digest(path)

    monkeypatch.setattr(kept_digests, "digest", note)
    return names


def _write(path: Path, text: str, when: int = AN_HOUR_AGO) -> Path:
    path.write_text(text)
    os.utime(path, (when, when))
    return path


def _ask(root: Path, *paths: Path) -> list[str]:
    digests = KeptDigests(root)
    found = [digests.digest(path) for path in paths]
    digests.save()
    return found


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, read: list[str]) -> None:
    log = _write(tmp_path / "log.csv", "one")
    assert _ask(tmp_path, log) == _ask(tmp_path, log) == [digest(log)]
    assert read == ["log.csv"]
    _write(log, "two", AN_HOUR_AGO + 1)
    assert _ask(tmp_path, log) == [digest(log)]
    assert read == ["log.csv"] * 2


def test_a_file_that_has_just_changed_is_read_again(tmp_path: Path, read: list[str]) -> None:
    log = tmp_path / "log.csv"
    log.write_text("one")
    _ask(tmp_path, log)
    status = log.stat()
    log.write_text("two")
    os.utime(log, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _ask(tmp_path, log) == [digest(log)]


@pytest.mark.parametrize("content", ["", "[]", '{"/x": 1}', '{"/x": [1, 2]}', "{", "\x00"])
def test_what_is_kept_may_be_damaged(tmp_path: Path, content: str) -> None:
    log = _write(tmp_path / "log.csv", "one")
    (tmp_path / FILE).write_text(content)
    assert _ask(tmp_path, log) == [digest(log)]


def test_files_that_are_not_asked_about_are_forgotten(tmp_path: Path) -> None:
    first, second = _write(tmp_path / "1.csv", "one"), _write(tmp_path / "2.csv", "two")
    _ask(tmp_path, first, second)
    _ask(tmp_path, second)
    assert str(first) not in (tmp_path / FILE).read_text()
    assert str(second) in (tmp_path / FILE).read_text()
