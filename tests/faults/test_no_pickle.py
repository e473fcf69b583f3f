"""No artefact is ever unpickled, whatever is put in its place."""

from __future__ import annotations

import ast
import json
import pickle  # noqa: TID251 (to make what must not be read)
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mmsc_cli
from mmsc_cli.workspace.workspace import Workspace
from tests.faults.stranger import seal_again

if TYPE_CHECKING:
    from tests.conftest import Mmsc

UNPICKLERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


class _Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, sprung: Path) -> None:
        self._sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._sprung,)


def _write_trap(path: Path, trap: _Trap) -> None:
    if path.suffix == ".npy":
        np.save(path, np.array([trap, trap], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(trap))


@pytest.mark.parametrize(
    "name",
    [
        "embeddings/text.npy",
        "embeddings/image.npy",
        "embeddings/mask.npy",
        "embeddings/classic.safetensors",
        "embeddings/classic.json",
        "image_hashes.npy",
        "items.parquet",
        "labels.parquet",
        "model/model.safetensors",
        "index/index.safetensors",
        "index/index.json",
    ],
)
def test_a_trap_is_not_sprung_even_if_the_manifest_vouches_for_it(
    mmsc: Mmsc, golden: Workspace, tmp_path: Path, name: str
) -> None:
    sprung = tmp_path / "sprung"
    _write_trap(golden.path(name), _Trap(sprung))
    seal_again(golden)
    (tmp_path / "new").write_text('{"title": "camera model Z"}\n')
    refused = 0
    for command in ("encode", "label", "train", "evaluate", "infer --item G000 --explain", "infer --new"):
        copy = Path(shutil.copytree(golden.root, tmp_path / "copy"))
        words = [*command.split(), *([str(tmp_path / "new")] if command.endswith("--new") else [])]
        ran = mmsc(*words, "-w", copy, "-q")
        assert not sprung.exists(), command
        assert ran.code in (0, 2), f"{command}: {ran.err}"
        refused += ran.code == 2
        shutil.rmtree(copy)
    assert refused
    pickle.loads(pickle.dumps(_Trap(sprung)))  # noqa: S301 (the trap works)
    assert sprung.exists()


def test_the_sources_have_nothing_that_unpickles() -> None:
    found = []
    for path in Path(mmsc_cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found += [f"{path.name}:{node.lineno}: {wrong}" for wrong in _unpickles(node)]  # type: ignore[attr-defined]
    assert found == []


def _unpickles(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names if alias.name.split(".")[0] in UNPICKLERS]
        case ast.ImportFrom(module=str(module)):
            return [module] if module.split(".")[0] in UNPICKLERS else []
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load")):
            return ["torch.load"]
        case ast.Call(func=ast.Attribute(attr="read_pickle")):
            return ["read_pickle"]
        case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr="load"), keywords=keywords):
            allowed = {word.arg: ast.unparse(word.value) for word in keywords}.get("allow_pickle")
            return [] if allowed == "False" else ["np.load without allow_pickle=False"]
        case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
            return ["allow_pickle=True"]
    return []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "f(path, allow_pickle=True)",
        "pd.read_pickle(path)",
    ],
)
def test_what_would_be_found(source: str) -> None:
    assert any(_unpickles(node) for node in ast.walk(ast.parse(source)))


def test_the_safetensors_of_the_golden_workspace_are_what_they_are_called(golden: Workspace) -> None:
    for path in golden.root.rglob("*.safetensors"):
        content = path.read_bytes()
        json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
