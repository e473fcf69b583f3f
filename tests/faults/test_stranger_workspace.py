"""A workspace from a stranger: no links, no pipes, no devices, nothing outside of it; one line and exit code 2."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmsc_cli.workspace.manifest_file import read_manifest_file, write_manifest_file
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

COMMANDS = ["label", "encode", "train", "evaluate", "infer --item G000"]


def _refused(mmsc: Mmsc, workspace: Workspace, command: str) -> str:
    ran = mmsc(*command.split(), "-w", workspace.root, "-q")
    assert ran.code == 2, ran
    assert len(ran.err.splitlines()) == 2, ran.err
    return ran.err


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (".lock", "label"),
        (".staging", "label"),
        ("answers", "label"),
        ("encoding", "encode"),
        ("training", "train"),
        ("manifest.json", "infer --item G000"),
        ("index/index.json", "infer --item G000"),
        ("index/index.safetensors", "infer --item G000"),
        ("model/model.safetensors", "infer --item G000"),
        ("index", "evaluate"),
        ("items.parquet", "label"),
        ("images", "encode"),
        ("embeddings/text.npy", "train"),
    ],
)
def test_links_among_our_own_names_are_refused(
    mmsc: Mmsc, golden: Workspace, tmp_path: Path, name: str, command: str
) -> None:
    path, elsewhere = golden.root / name, tmp_path / "elsewhere"
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.mkdir()
    path.symlink_to(elsewhere)
    before = {file: file.read_bytes() for file in elsewhere.rglob("*") if file.is_file()}

    assert f"{path} is a link" in _refused(mmsc, golden, command)
    assert {file: file.read_bytes() for file in elsewhere.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["manifest.json", "items.parquet", "index/index.json"])
def test_a_pipe_does_not_hang(mmsc: Mmsc, golden: Workspace, command: str, name: str) -> None:
    if (name, command) in {("items.parquet", "infer --item G000")} or (
        name.startswith("index") and command not in ("evaluate", "infer --item G000")
    ):
        pytest.skip("the command does not read the file")
    (golden.root / name).unlink()
    os.mkfifo(golden.root / name)

    assert f"{golden.root / name} is not a regular file" in _refused(mmsc, golden, command)


@pytest.mark.parametrize("name", ["/dev/zero", "../outside", "images/../../outside", "manifest.json"])
def test_the_manifest_cannot_point_outside(mmsc: Mmsc, golden: Workspace, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("of somebody else")
    content = read_manifest_file(golden.root)
    assert content is not None
    content["stages"]["prepare"]["files"][name] = {"sha256": "0" * 64, "bytes": 1, "mtime_ns": 1}
    write_manifest_file(golden.root, content)

    for command in ("label", "encode", "prepare demo"):
        assert "manifest.json is damaged" in _refused(mmsc, golden, command)
    ran = mmsc("doctor", "-w", golden.root, "--json")
    assert ran.code == 0
    assert "does not make" in json.loads(ran.out)["workspace"]["manifest"]
    assert (tmp_path / "outside").read_text() == "of somebody else"


def test_a_manifest_of_any_shape_is_one_line(mmsc: Mmsc, golden: Workspace) -> None:
    whole = golden.path("manifest.json").read_bytes()
    content = read_manifest_file(golden.root)
    assert content is not None
    bare: dict[str, Any] = content["stages"]["prepare"] | {"config": {}}
    shapes: list[dict[str, Any]] = [{}, {"train": 7}, {"prepare": {"config": {}}}, {"prepare": bare}]
    for stages in shapes:
        write_manifest_file(golden.root, content | {"stages": stages})
        for command in ("label", "encode", "train", "evaluate"):
            ran = mmsc(*command.split(), "-w", golden.root, "-q")
            assert ran.code in (0, 2), (stages, command, ran)
            assert ran.code == 0 or len(ran.err.splitlines()) <= 2, (stages, command, ran)
        assert mmsc("infer", "--item", "G000", "-w", golden.root, "-q").code in (0, 2)
        golden.path("manifest.json").write_bytes(whole)
    for text in (b"[" * 100_000, b'{"format_version": ' + b"9" * 10_000 + b"}", b"null", b'"\xed\xa0\x80"'):
        golden.path("manifest.json").write_bytes(text)
        for command in ("label", "infer --item G000"):
            _refused(mmsc, golden, command)


def test_a_link_to_the_workspace_itself_is_the_users_own_choice(mmsc: Mmsc, golden: Workspace, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(golden.root)
    assert mmsc("infer", "--item", "G000", "-w", tmp_path / "here", "-q").code == 0
    assert mmsc("label", "--budget", "30", "-w", tmp_path / "here", "-q").code == 0
