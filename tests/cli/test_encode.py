from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mmsc_cli.workspace.manifest_file import read_manifest_file, write_manifest_file
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.tiny_models import vision_language_model

if TYPE_CHECKING:
    from tests.conftest import Mmsc

FILES = ("text.npy", "image.npy", "mask.npy", "encoder.json")


def _embeddings(workspace: Workspace) -> dict[str, bytes]:
    return {name: (workspace.path("embeddings") / name).read_bytes() for name in FILES}


def test_shares_come_together_with_the_last_one(mmsc: Mmsc, prepared_copy: Workspace) -> None:
    where = "-w", prepared_copy.root
    assert mmsc("encode", "-q", *where).code == 0
    whole = _embeddings(prepared_copy)
    assert not prepared_copy.path("encoding").exists()
    _forget_encode(prepared_copy)

    first = mmsc("encode", "--json", "--shard", "2/2", *where)
    assert first.code == 0
    assert json.loads(first.out)["counts"] == {"shard": "2/2", "missing": ["1/2"]}
    assert "encode" not in prepared_copy.manifest().stages
    last = mmsc("encode", "--json", "--shard", "1/2", *where)
    assert json.loads(last.out)["counts"]["texts"] == 300
    assert _embeddings(prepared_copy) == whole
    assert not prepared_copy.path("encoding").exists()


def test_one_share_of_one_is_the_whole(mmsc: Mmsc, prepared_copy: Workspace) -> None:
    ran = mmsc("encode", "--json", "--shard", "1/1", "-w", prepared_copy.root)
    assert json.loads(ran.out)["counts"]["texts"] == 300


def test_a_share_that_is_none(mmsc: Mmsc, prepared_copy: Workspace) -> None:
    ran = mmsc("encode", "--shard", "3/2", "-w", prepared_copy.root)
    assert ran.code == 2
    assert "--shard 1/4" in ran.err
    for where in (("--workers", "2"), ("--ray",)):
        ran = mmsc("encode", "--shard", "1/2", *where, "-w", prepared_copy.root)
        assert ran.code == 2
        assert "--shard is one share of several" in ran.err


def test_texts_with_images_as_one_input_go_through_all_stages(
    mmsc: Mmsc, prepared_copy: Workspace, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    where = "-q", "-w", prepared_copy.root
    model = vision_language_model(tmp_path_factory.mktemp("vision"))
    ran = mmsc("encode", "--json", "--encoder", f"sentence-transformers:{model}", *where)
    assert json.loads(ran.out)["counts"]["joint_dim"] == 32
    assert mmsc("train", "--epochs", "1", *where).code == 0
    shape = json.loads((prepared_copy.path("model") / "model.json").read_bytes())["shape"]
    assert (shape["text_dim"], shape["image_dim"], shape["joint_dim"]) == (32, 32, 32)
    ran = mmsc("evaluate", "--json", "--baselines", "joint-knn", *where)
    assert json.loads(ran.out)["models"]["joint-knn"]["substitute"]["all"]["queries"] > 0

    image = next(iter(sorted(prepared_copy.path("images").rglob("*.png"))))
    new = tmp_path / "new.jsonl"
    new.write_text(json.dumps({"title": "brass lamp", "image_path": str(image)}) + "\n")
    ran = mmsc("infer", "--new", new, "--relation", "substitute", "-k", "5", "--format", "jsonl", *where)
    assert (ran.code, len(ran.out.splitlines())) == (0, 5)


def _forget_encode(workspace: Workspace) -> None:
    manifest = read_manifest_file(workspace.root)
    assert manifest is not None
    del manifest["stages"]["encode"]
    write_manifest_file(workspace.root, manifest)
