"""Every artefact, damaged in every way: the next stage names the file and the command that makes it again."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.workspace import checksums as integrity
from mmsc_cli.workspace.checksums import check_at_a_glance
from mmsc_cli.workspace.manifest_file import read_manifest_file
from mmsc_cli.workspace.stages import STAGES, Stage
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

# The stage that makes a file, and the commands that come next and read it.
READERS: dict[str, tuple[Stage, list[str]]] = {
    "items.parquet": ("prepare", ["label", "encode", "train", "evaluate", "infer --new NEW"]),
    "pairs.parquet": ("prepare", ["label", "train", "evaluate", "infer --new NEW"]),
    "image_hashes.npy": ("prepare", ["encode", "evaluate"]),
    "IMAGE": ("prepare", ["encode"]),
    "labels.parquet": ("label", ["train"]),
    "embeddings/text.npy": ("encode", ["train", "evaluate", "infer --item G000 --explain"]),
    "embeddings/image.npy": ("encode", ["train", "infer --item G000 --explain"]),
    "embeddings/mask.npy": ("encode", ["train", "infer --item G000 --explain"]),
    "embeddings/encoder.json": ("encode", ["train", "infer --new NEW"]),
    "embeddings/classic.json": ("encode", ["infer --new NEW"]),
    "embeddings/classic.safetensors": ("encode", ["infer --new NEW"]),
    "model/model.safetensors": ("train", ["evaluate", "infer --item G000", "infer --new NEW"]),
    "model/lendable.safetensors": ("train", ["evaluate"]),  # of 0.1
    "model/model.json": ("train", ["evaluate"]),
    "model/edges.parquet": ("train", ["evaluate"]),
    "model/metrics.jsonl": ("train", ["evaluate"]),
    "index/index.json": ("train", ["evaluate", "infer --item G000", "infer --pairs PAIRS"]),
    "index/index.safetensors": ("train", ["evaluate", "infer --item G000", "infer --all"]),
}


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _truncate(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def _fill_up(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\xff"))


def _swap(path: Path, _: random.Random) -> None:
    """Another file of the same kind, sound in itself."""
    match path.suffix:
        case ".parquet":
            table = pq.read_table(path)
            pq.write_table(table.take(pa.array(range(len(table))[::-1])), path)
        case ".npy":
            array = np.load(path)
            np.save(path, np.roll(array, 1, axis=0))
        case ".png":
            Image.new("RGB", (4, 4), "red").save(path)
        case ".safetensors":
            from safetensors.numpy import load_file, save_file

            tensors = {name: tensor[::-1].copy() for name, tensor in load_file(path).items()}
            with path.open("rb") as file:
                about = json.loads(file.read(int.from_bytes(file.read(8), "little"))).get("__metadata__")
            save_file(tensors, path, about)
        case ".jsonl":
            path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))
        case _:
            content = json.loads(path.read_bytes())
            path.write_text(json.dumps(content[::-1] if isinstance(content, list) else content | {"seed": 77}))


DAMAGES: list[Callable[[Path, random.Random], None]] = [_flip, _flip, _flip, _truncate, _fill_up, _swap]


@pytest.mark.parametrize("name", READERS)
def test_the_next_stage_names_the_damaged_file(mmsc: Mmsc, golden: Workspace, tmp_path: Path, name: str) -> None:
    maker, readers = READERS[name]
    image = sorted(golden.path("images").iterdir())[3]
    path = image if name == "IMAGE" else golden.path(name)
    whole, chance = path.read_bytes(), random.Random(name)
    (tmp_path / "new").write_text('{"title": "camera model Z"}\n')
    (tmp_path / "pairs").write_text("G000\tG001\n")
    for damage in DAMAGES:
        damage(path, chance)
        assert path.read_bytes() != whole
        for reader in readers:
            files = {"NEW": str(tmp_path / "new"), "PAIRS": str(tmp_path / "pairs")}
            ran = mmsc(*(files.get(word, word) for word in reader.split()), "-w", golden.root, "-q")
            said = f"{reader} after {damage.__name__}: {ran}"
            assert ran.code == 2, said
            assert len(ran.out.splitlines()) <= 1, f"no more than the header: {said}"
            assert len(ran.err.splitlines()) == 2, said
            # Of an image that is shorter or longer than it was, the folder.
            assert str(path if name != "IMAGE" else path.parent) in ran.err, said
            assert f"`mmsc {maker}" in ran.err, said
        path.write_bytes(whole)
    path.unlink()
    if not readers[0].startswith("infer"):
        ran = mmsc(readers[0], "-w", golden.root, "-q")
        assert ran.code == 2
        assert str(path if name != "IMAGE" else path.parent) in ran.err


def test_every_artefact_is_damaged_here(golden: Workspace) -> None:
    made = {
        name for stage in ("prepare", "label", "encode", "train") for name in golden.manifest().stages[stage].outputs
    }
    files = {
        path.relative_to(golden.root).as_posix()
        for name in made - {"images"}
        for path in (golden.path(name).rglob("*") if golden.path(name).is_dir() else [golden.path(name)])
    }
    assert files == READERS.keys() - {"IMAGE"}


@pytest.mark.parametrize(
    "command", ["label", "encode", "train", "evaluate", "infer --item G000", "prepare demo", "run demo"]
)
def test_a_damaged_manifest_is_named(mmsc: Mmsc, golden: Workspace, command: str) -> None:
    path, chance = golden.path("manifest.json"), random.Random(command)
    whole = path.read_bytes()
    for damage in (_flip, _flip, _flip, _truncate, _fill_up):
        damage(path, chance)
        ran = mmsc(*command.split(), "-w", golden.root, "-q")
        assert (ran.code, ran.out) == (2, ""), ran
        assert f"{path} is damaged" in ran.err, ran
        assert "`mmsc prepare SOURCE" in ran.err
        assert len(ran.err.splitlines()) == 2
        path.write_bytes(whole)


def test_whatever_byte_of_the_manifest_is_flipped_it_says_the_same_or_is_refused(golden: Workspace) -> None:
    path, chance = golden.path("manifest.json"), random.Random(1)
    whole, said = path.read_bytes(), read_manifest_file(golden.root)
    refused = 0
    for _ in range(200):
        _flip(path, chance)
        try:
            assert read_manifest_file(golden.root) == said
        except WorkspaceError:
            refused += 1
        path.write_bytes(whole)
    assert refused > 100


def test_a_verdict_that_nobody_reads_again_is_found_by_run_and_doctor(mmsc: Mmsc, golden: Workspace) -> None:
    assert mmsc("evaluate", "-w", golden.root, "-q").code == 0
    config = golden.manifest().stages["evaluate"].config
    for name in ("metrics.json", "report.html"):
        assert golden.is_current("evaluate", config)
        whole = golden.path(name).read_bytes()
        _flip(golden.path(name), random.Random(name))
        assert not golden.is_current("evaluate", config)
        found = json.loads(mmsc("doctor", "-w", golden.root, "--json").out)["workspace"]
        assert f"{golden.path(name)} is damaged" in found["evaluate"]
        assert "`mmsc evaluate" in found["evaluate"]
        assert found["train"].startswith("done")
        golden.path(name).write_bytes(whole)


def test_a_workspace_that_was_copied_or_touched_is_as_good(mmsc: Mmsc, golden: Workspace, tmp_path: Path) -> None:
    copy = shutil.copytree(golden.root, tmp_path / "copy", copy_function=shutil.copyfile)
    for path in Path(copy).rglob("*"):
        os.utime(path, (1, 1))
    for command in ("infer --item G000 --explain", "evaluate"):
        assert mmsc(*command.split(), "-w", copy, "-q").code == 0


def test_what_infer_does_not_find_a_stage_and_doctor_do(
    mmsc: Mmsc, golden: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file altered behind the file system's back, size and time of change kept."""
    monkeypatch.setattr(integrity, "_GLANCED_AT_FROM", 0)
    assert mmsc("train", "-w", golden.root, "-q").code == 0
    path = golden.path("index/index.safetensors")
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert mmsc("infer", "--item", "G000", "-w", golden.root, "-q").code == 0
    assert str(path) in mmsc("evaluate", "-w", golden.root, "-q").err
    assert str(path) in mmsc("doctor", "-w", golden.root).out
    os.utime(path)
    assert str(path) in mmsc("infer", "--item", "G000", "-w", golden.root, "-q").err


def test_an_index_that_is_just_being_replaced_is_not_called_damaged(
    golden: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = read_manifest_file(golden.root)
    assert new is not None
    old = json.loads(json.dumps(new))
    old["stages"]["train"]["files"]["index/index.json"]["sha256"] = "0" * 64
    seen = iter([old, new, new])
    monkeypatch.setattr(integrity, "read_manifest_file", lambda _: next(seen))
    check_at_a_glance(golden.root, "train", ["index/index.json"])


def test_every_artefact_of_the_table_has_a_maker_that_is_told() -> None:
    for stage, files in STAGES.items():
        for artefact in (*files.needs, *files.uses):
            assert any(artefact in other.makes for other in STAGES.values()), (stage, artefact)
