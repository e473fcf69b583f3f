"""`mmsc clean` removes what mmsc can make again, and nothing else."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from mmsc_cli.index.index_file import Index
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.label.llm.cache import AnswerCache
from mmsc_cli.runtime.checkpoint import Checkpoints
from mmsc_cli.upkeep.clean import PARTS, find_parts
from mmsc_cli.workspace.lock import locked
from mmsc_cli.workspace.pins import Pins
from mmsc_cli.workspace.stages import MAKER
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

HASH = "0123456789abcdef"
# Of each part, files as mmsc names them.
MADE = {
    "leftovers": [".staging/train-x1y2z3/index/index.json", f".manifest.json.{HASH}"],
    "encoding": [f"encoding/{HASH}/plan.json", f"encoding/{HASH}/text-000000.npy", f"encoding/{HASH}/adapted/x.json"],
    "training": ["training/checkpoint.safetensors"],
    "answering": [f"answering/{HASH}/part-000001-of-000002.jsonl"],
    "kept_events": [f"kept_events/{HASH * 2}.{end}" for end in ("events.parquet", "tally.parquet", "json")],
    "downloads": ["downloads/01234567/meta.json.gz", "downloads/01234567/meta.json.gz.part.version"],
    "image_cache": [f"downloads/images/{HASH * 2}.jpg"],
    "digests": ["digests.json"],
    "answers": ["answers/answers-000001.parquet", "answers/vllm.log"],
}
# Files of the user, or that nobody can make again.
THEIRS = [
    "replaced/20260101-000000-x/labels.parquet",
    "downloads/stdin.csv",
    "downloads/images/holiday.jpg",
    "kept_events/notes.txt",
    "answers/to-exam.parquet",
    ".staging/mine/file",
    "judgements.parquet",
    "recipe.toml",
    "my-script.sh",
]


def _write(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * 1000)


def _names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def littered(trained_copy: Workspace) -> Workspace:
    """A workspace with something of everything in it."""
    for name in set(_names(trained_copy.root)) - _of_manifest(trained_copy) - {".lock", "manifest.json"}:
        (trained_copy.root / name).unlink()
    _write(trained_copy.root, [*THEIRS, *(name for names in MADE.values() for name in names)])
    return trained_copy


def _of_manifest(workspace: Workspace) -> set[str]:
    listed = {name for record in workspace.manifest().stages.values() for name in record.files}
    return listed | {name for name in _names(workspace.root) if name.startswith("images/")}


def test_without_yes_nothing_is_removed(mmsc: Mmsc, littered: Workspace) -> None:
    before = _names(littered.root)
    ran = mmsc("clean", "-w", littered.root, "--json")

    found = json.loads(ran.out)
    assert ran.code == 0
    assert {part["part"]: part["files"] for part in found["parts"]} == {
        name: len(files) for name, files in MADE.items()
    }
    assert found["bytes"] == 1000 * sum(len(files) for name, files in MADE.items() if name != "answers")
    assert f"`mmsc clean --yes -w {littered.root}`" in ran.err
    assert _names(littered.root) == before


def test_yes_removes_all_but_paid_answers_and_what_mmsc_cannot_make_again(mmsc: Mmsc, littered: Workspace) -> None:
    before = _names(littered.root)
    ran = mmsc("clean", "-w", littered.root, "--yes")

    assert ran.code == 0
    assert before - _names(littered.root) == {
        name for part, names in MADE.items() if part != "answers" for name in names
    }
    assert not (littered.root / "encoding").exists()
    assert set(THEIRS) <= _names(littered.root)
    assert not any(littered.find_damage(stage) for stage in littered.manifest().stages)
    assert Recommender.open(littered.root) is not None


def test_only_the_parts_that_are_named_go(mmsc: Mmsc, littered: Workspace) -> None:
    before = _names(littered.root)
    listed = mmsc("clean", "answers", "training", "-w", littered.root)
    ran = mmsc("clean", "answers", "training", "--yes", "-w", littered.root)

    assert "`mmsc clean answers training --yes -w" in listed.err
    assert ran.code == 0
    assert before - _names(littered.root) == {*MADE["answers"], *MADE["training"]}


def test_an_unknown_part_is_refused(mmsc: Mmsc, littered: Workspace) -> None:
    ran = mmsc("clean", "index", "--yes", "-w", littered.root)

    assert ran.code == 2
    assert "choose from: leftovers, encoding" in ran.err


def test_what_stages_leave_is_recognized(trained_copy: Workspace) -> None:
    AnswerCache(trained_copy.root / "answers", "model").add("1", [("key", ("A", "B"), "yes")])
    Checkpoints(trained_copy.root / "training", {}).save({"weights": torch.zeros(3)})

    assert {"answers", "training"} <= {here.part.name for here in find_parts(trained_copy.root)}


def test_no_artefact_can_go() -> None:
    for artefact in MAKER:
        for part in PARTS:
            for name in (artefact, f"{artefact}/x", f"{artefact}/{HASH}/x", f"{artefact}/{HASH * 2}.jpg"):
                assert not re.fullmatch(part.files, name), (part.name, name)


def test_an_old_index_that_is_still_read_stays(mmsc: Mmsc, trained_copy: Workspace) -> None:
    old = trained_copy.root / ".staging" / "train-abcdefgh"
    old.mkdir(parents=True)
    (trained_copy.root / "index").rename(old / "index")
    pins = Pins(old, ["index"])

    assert mmsc("clean", "-w", trained_copy.root, "--yes").code == 0
    assert Index.open(pins.path("index")) is not None
    del pins
    assert mmsc("clean", "-w", trained_copy.root, "--yes").code == 0
    assert not old.exists()


def test_images_that_are_in_use_count_as_nothing(prepared_copy: Workspace) -> None:
    _write(prepared_copy.root, MADE["image_cache"])
    cached = prepared_copy.root / MADE["image_cache"][0]
    os.link(cached, prepared_copy.root / "in-use.jpg")

    (found,) = [here for here in find_parts(prepared_copy.root) if here.part.name == "image_cache"]
    assert (len(found.files), found.bytes) == (1, 0)


def test_while_a_stage_runs_nothing_is_removed(mmsc: Mmsc, littered: Workspace) -> None:
    before = _names(littered.root)
    with locked(littered.root, shared=True):
        listed = mmsc("clean", "-w", littered.root)
        ran = mmsc("clean", "--yes", "-w", littered.root)

    assert "warning: a mmsc process works in" in listed.err
    assert ran.code == 2
    assert "another mmsc process is using" in ran.err
    assert _names(littered.root) == before


@pytest.mark.parametrize("folder", ["nothing", "own"])
def test_a_folder_that_is_no_workspace_is_left_alone(mmsc: Mmsc, tmp_path: Path, folder: str) -> None:
    (tmp_path / "own").mkdir()
    _write(tmp_path / "own", MADE["downloads"])
    ran = mmsc("clean", "--yes", "-w", tmp_path / folder)

    assert ran.code == 2
    assert len(ran.err.splitlines()) == 2
    assert _names(tmp_path / "own") == set(MADE["downloads"])


def test_links_are_not_followed(mmsc: Mmsc, trained_copy: Workspace, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    _write(elsewhere, ["checkpoint.safetensors", f"{HASH * 2}.jpg"])
    (trained_copy.root / "downloads").mkdir(exist_ok=True)
    (trained_copy.root / "downloads" / "images").symlink_to(elsewhere)
    assert mmsc("clean", "--yes", "-w", trained_copy.root).code == 0
    (trained_copy.root / "training").symlink_to(elsewhere)

    assert "is a link" in mmsc("clean", "--yes", "-w", trained_copy.root).err
    assert len(_names(elsewhere)) == 2
