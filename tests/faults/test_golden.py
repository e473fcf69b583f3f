"""A workspace of every format version there was is read by every stage, and answers as it did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mmsc_cli.workspace.manifest_file import FORMAT_VERSION
from mmsc_cli.workspace.workspace import Workspace
from tests.faults.conftest import GOLDEN
from tests.faults.make_golden import answers

if TYPE_CHECKING:
    from tests.conftest import Mmsc


def test_there_is_one_of_the_present_version() -> None:
    assert GOLDEN.name == f"format-{FORMAT_VERSION}"


def test_it_answers_as_it_did(golden: Workspace) -> None:
    then = json.loads((GOLDEN / "answers.json").read_bytes())
    now = answers(golden.root)
    assert now.keys() == then.keys()
    for question, told in then.items():
        assert [item for item, _ in now[question]] == [item for item, _ in told]
        assert [score for _, score in now[question]] == pytest.approx([score for _, score in told], abs=1e-3)


@pytest.mark.parametrize(
    "command",
    [
        "encode",
        "label",
        "train --device cpu",
        "evaluate --device cpu",
        "infer --all --explain",
        "infer --pairs - ",
        "infer --new - --device cpu",
    ],
)
def test_every_command_reads_it(
    mmsc: Mmsc, golden: Workspace, command: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"--pairs": "G000\tG001\n", "--new": '{"title": "camera model Z", "price": 7}\n'}
    words = command.split()
    if words[-1] == "-" or "-" in words:
        source = golden.root.parent / "asked"
        source.write_text(next(text for option, text in asked.items() if option in words))
        words[words.index("-")] = str(source)
    ran = mmsc(*words, "-w", golden.root, "-q")
    assert (ran.code, ran.err) == (0, "")
    assert bool(ran.out) == (words[0] in ("infer", "evaluate"))


@pytest.mark.parametrize(
    "command", ["encode", "label", "train", "evaluate", "infer --item G000", "prepare demo", "run demo"]
)
def test_one_of_a_newer_version_is_refused(mmsc: Mmsc, golden: Workspace, command: str) -> None:
    path = golden.path("manifest.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format_version": FORMAT_VERSION + 1}))
    before = path.read_bytes()
    ran = mmsc(*command.split(), "-w", golden.root)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 2
    assert f"format version {FORMAT_VERSION + 1} is newer" in ran.err
    assert "pip install --upgrade" in ran.err
    assert path.read_bytes() == before
