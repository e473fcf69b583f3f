"""The command that adds an extra is true for a checkout, a file, an address and an index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmsc_cli.runtime import installation
from mmsc_cli.runtime.installation import extra_command


class _Distribution:
    def __init__(self, origin: dict[str, object] | None) -> None:
        self._origin = origin

    def read_text(self, _: str) -> str | None:
        return None if self._origin is None else json.dumps(self._origin)


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'mmsc-cli[llm]'"),
        ({"url": "file:///src/my%20mmsc", "dir_info": {"editable": True}}, "pip install '/src/my mmsc[llm]'"),
        ({"url": "file:///tmp/mmsc_cli-1.whl", "archive_info": {}}, "pip install '/tmp/mmsc_cli-1.whl[llm]'"),
        (
            {"url": "https://git.example/mmsc.git", "vcs_info": {"vcs": "git"}},
            "pip install 'mmsc-cli[llm] @ git+https://git.example/mmsc.git'",
        ),
    ],
)
def test_an_extra_comes_from_where_mmsc_came_from(
    monkeypatch: pytest.MonkeyPatch, origin: dict[str, object] | None, command: str
) -> None:
    monkeypatch.setattr(installation, "distribution", lambda _: _Distribution(origin))
    assert extra_command("llm") == command


def test_in_the_checkout_it_is_the_command_of_the_readme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(installation, "distribution", lambda _: _Distribution({"url": tmp_path.as_uri()}))
    assert extra_command("faiss") == "pip install '.[faiss]'"
