from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mmsc_cli.runtime.atomic import atomic_write, write_json


def test_new_content_replaces_old_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "table"
    for content in (b"old", b"new"):
        with atomic_write(path) as file:
            file.write(content)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_content(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"old")

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b"half of the ne")
            raise failure

    with pytest.raises(failure):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_see_the_old_content_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_json(tmp_path / "x.json", {})
        assert os.umask(mask) == mask, "the umask is left as it was"
    finally:
        os.umask(before)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == mode


def test_json_is_readable_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"name": "Café", "values": [1, 2]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Café", "values": [1, 2]}
    assert "Café" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert json.loads(path.read_text(encoding="utf-8"))["values"] == [1, 2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_an_os_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        write_json(tmp_path / "x.json", {})


def test_a_missing_folder_is_an_os_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_json(tmp_path / "gone" / "x.json", {})
    assert str(tmp_path / "gone") in str(caught.value.filename)
