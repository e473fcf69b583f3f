"""The rules of the tree that neither the linter nor import-linter holds."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "mmsc_cli"
MODULES = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]


def test_the_top_level_and_every_folder_stay_small() -> None:
    folders = Counter(path.parent for path in MODULES)

    assert folders.pop(PACKAGE) <= 8
    assert {folder.name: files for folder, files in folders.items() if files > 14} == {}


def test_every_late_import_says_why() -> None:
    late = [
        (path.name, line, reason.strip())
        for path in PACKAGE.rglob("*.py")
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for reason in re.findall(r"# noqa: PLC0415(.*)", text)
    ]

    assert late
    assert [where for where in late if " " not in where[2]] == []
