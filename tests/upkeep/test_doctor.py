"""What `mmsc doctor` says of the artefacts of a workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc


def _examine(mmsc: Mmsc, workspace: Workspace, code: int = 0) -> dict[str, Any]:
    ran = mmsc("doctor", "-w", workspace.root, "--json", "--device", "cpu")
    assert ran.code == code
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_every_artefact_has_its_size_and_state(mmsc: Mmsc, trained: Workspace) -> None:
    artefacts = _examine(mmsc, trained)["artefacts"]

    assert {name for record in trained.manifest().stages.values() for name in record.outputs} == set(artefacts)
    assert {found["state"] for found in artefacts.values()} == {"current"}
    files = [path for path in trained.path("index").rglob("*") if path.is_file()]
    assert artefacts["index"]["bytes"] == sum(path.stat().st_size for path in files)
    assert artefacts["index"]["files"] == len(files)
    assert artefacts["index"]["stage"] == "train"
    assert artefacts["images"]["bytes"] > 0
    table = mmsc("doctor", "-w", trained.root, "--device", "cpu").out
    assert f"artefacts\tindex\t{artefacts['index']['bytes'] / 2**20:.1f} MiB, {len(files)} files, made 20" in table


def test_what_was_made_from_something_outdated_is_outdated(mmsc: Mmsc, trained_copy: Workspace) -> None:
    manifest = trained_copy.manifest()
    manifest.stages["encode"].inputs["items.parquet"] = "0" * 64
    trained_copy._write_manifest(manifest)
    found = _examine(mmsc, trained_copy)

    assert found["artefacts"]["embeddings"]["reason"] == "older than its inputs (items.parquet)"
    assert found["artefacts"]["index"]["reason"] == "made from what is outdated (embeddings)"
    assert found["artefacts"]["items.parquet"]["state"] == "current"
    assert f"run `mmsc train -w {trained_copy.root}` again" in found["workspace"]["train"]


def test_a_training_that_did_not_see_the_labels_is_outdated(mmsc: Mmsc, trained_copy: Workspace) -> None:
    manifest = trained_copy.manifest()
    del manifest.stages["train"].inputs["labels.parquet"]
    trained_copy._write_manifest(manifest)

    assert _examine(mmsc, trained_copy)["artefacts"]["index"]["reason"] == "made without labels.parquet"


def test_a_damaged_and_a_missing_artefact_are_told_from_whole_ones(mmsc: Mmsc, trained_copy: Workspace) -> None:
    trained_copy.path("labels.parquet").write_bytes(b"x")
    trained_copy.path("pairs.parquet").unlink()
    artefacts = _examine(mmsc, trained_copy, code=2)["artefacts"]

    assert (artefacts["labels.parquet"]["state"], artefacts["labels.parquet"]["bytes"]) == ("damaged", 1)
    assert (artefacts["pairs.parquet"]["state"], artefacts["pairs.parquet"]["bytes"]) == ("damaged", 0)
    assert artefacts["items.parquet"]["state"] == "current"


def test_damage_ends_with_exit_code_2_and_is_named(mmsc: Mmsc, trained_copy: Workspace) -> None:
    (trained_copy.path("index") / "index.json").write_text("{")
    ran = mmsc("doctor", "-w", trained_copy.root, "--device", "cpu")

    assert ran.code == 2
    assert ran.err.startswith("mmsc: damaged: index\n")
    assert "damaged: " in ran.out
    (trained_copy.root / "manifest.json").write_text("{")
    assert "mmsc: damaged: manifest.json" in mmsc("doctor", "-w", trained_copy.root, "--device", "cpu").err


def test_it_says_what_can_go(mmsc: Mmsc, trained_copy: Workspace) -> None:
    kept = trained_copy.root / "training" / "checkpoint.safetensors"
    kept.parent.mkdir()
    kept.write_bytes(bytes(3 * 2**20))

    assert (
        _examine(mmsc, trained_copy)["workspace"]["can go"] == f"3.0 MiB: `mmsc clean -w {trained_copy.root}` lists it"
    )


def test_where_nothing_was_run_it_says_so(mmsc: Mmsc, tmp_path: Path) -> None:
    found = _examine(mmsc, Workspace(tmp_path / "new"))

    assert found["artefacts"] == {}
    assert found["workspace"]["train"] == "not run"
