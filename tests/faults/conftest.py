"""The golden workspace as a place to break things in: small, and made without running anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmsc_cli.workspace.workspace import Workspace

GOLDEN = Path(__file__).parent / "golden" / "format-1"


@pytest.fixture
def golden(tmp_path: Path) -> Workspace:
    """A copy of the golden workspace of format version 1: prepared, encoded, labelled, trained."""
    return Workspace(Path(shutil.copytree(GOLDEN / "workspace", tmp_path / "golden")))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; `resize` and `make_read_only` change it."""
    from tests.faults.small_disk import mount, unmount

    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "size=8m"):
        pytest.skip("may not mount a file system (needs root)")
    try:
        yield folder
    finally:
        unmount(folder)
