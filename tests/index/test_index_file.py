"""The index file: read without torch, checked before it is trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmsc_cli.errors import UnknownItemError, WorkspaceError
from mmsc_cli.index.index_file import FORMAT_VERSION, Index, write_index
from mmsc_cli.index.storage import Strings
from mmsc_cli.tables.relations import RELATIONS

IDS = ["A1", "A2", "B1"]
TITLES = ["first", "zweité", ""]


def _tensors() -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(0)
    tensors: dict[str, NDArray[Any]] = {
        "known.indptr": np.array([0, 1, 2, 2]),
        "known.indices": np.array([1, 0], np.int32),
    }
    for name, values in (("ids", IDS), ("titles", TITLES)):
        tensors[f"{name}.bytes"], tensors[f"{name}.offsets"] = Strings.pack(values)
    for relation in RELATIONS:
        tensors[f"{relation}.query"] = generator.normal(size=(3, 4)).astype(np.float32)
        tensors[f"{relation}.key"] = generator.normal(size=(3, 4)).astype(np.float32)
        tensors[f"{relation}.linear.indptr"] = np.array([0, 2, 2, 3])
        tensors[f"{relation}.linear.indices"] = np.array([1, 2, 0], np.int32)
        tensors[f"{relation}.linear.values"] = np.array([0.5, 1.5, 2.5], np.float32)
    return tensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_index(tmp_path, _tensors(), {"made": "by a test"})
    return tmp_path


def test_what_is_written_is_read(folder: Path) -> None:
    index = Index.open(folder)

    assert len(index) == 3
    assert list(index.ids) == IDS
    assert list(index.titles) == TITLES
    assert index.title("A2") == "zweité"
    assert [index.row(item_id) for item_id in IDS] == [0, 1, 2]
    assert index.known.indices[index.known.row(0)].tolist() == [1]
    assert index.about["made"] == "by a test"


@pytest.mark.parametrize("relation", RELATIONS)
def test_scores_are_the_dot_product_plus_the_linear_branch(folder: Path, relation: Any) -> None:
    index = Index.open(folder)
    tensors = _tensors()
    linear = np.array([[0, 0.5, 1.5], [0, 0, 0], [2.5, 0, 0]])
    expected = tensors[f"{relation}.query"] @ tensors[f"{relation}.key"].T + linear

    np.testing.assert_allclose(index.scores(relation, np.array([2, 0])), expected[[2, 0]], rtol=1e-6)
    a, b = np.array([0, 1]), np.array([2, 2])
    np.testing.assert_allclose(index.pair_scores(relation, a, b), (expected + expected.T)[a, b] / 2, rtol=1e-5)


@pytest.mark.parametrize("unknown", ["", "A", "A3", "Z", "a1"])
def test_an_unknown_id_names_the_nearest(folder: Path, unknown: str) -> None:
    with pytest.raises(UnknownItemError) as caught:
        Index.open(folder).row(unknown)

    assert caught.value.hint is not None
    assert "A1" in caught.value.hint


def test_no_index(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="no index") as caught:
        Index.open(tmp_path)

    assert "mmsc train" in (caught.value.hint or "")


def test_a_newer_index(folder: Path) -> None:
    about = json.loads((folder / "index.json").read_bytes())
    (folder / "index.json").write_text(json.dumps(about | {"format_version": FORMAT_VERSION + 1}))

    with pytest.raises(WorkspaceError, match="newer mmsc"):
        Index.open(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format_version": 1}', '{"format_version": "x"}'])
def test_a_damaged_description(folder: Path, content: str) -> None:
    (folder / "index.json").write_text(content)

    with pytest.raises(WorkspaceError, match="damaged"):
        Index.open(folder)


def test_a_truncated_file(folder: Path) -> None:
    path = folder / "index.safetensors"
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(WorkspaceError, match="bytes"):
        Index.open(folder)


def test_a_header_that_is_none(folder: Path) -> None:
    path = folder / "index.safetensors"
    content = path.read_bytes()
    path.write_bytes(b"\xff" * 8 + content[8:])

    with pytest.raises(WorkspaceError, match="no valid header"):
        Index.open(folder)


def test_a_file_whose_lost_end_was_filled_up(folder: Path) -> None:
    path = folder / "index.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2].ljust(size, b"\0"))

    with pytest.raises(WorkspaceError, match="damaged"):
        Index.open(folder)


def test_files_of_two_models(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_index(tmp_path / name, _tensors(), {"model": name})
    assert Index.open(tmp_path / "first").about["model"] == "first"
    (tmp_path / "first" / "index.safetensors").replace(tmp_path / "moved")
    (tmp_path / "moved").replace(tmp_path / "second" / "index.safetensors")
    about = json.loads((tmp_path / "second" / "index.json").read_bytes())
    about["bytes"] = (tmp_path / "second" / "index.safetensors").stat().st_size
    (tmp_path / "second" / "index.json").write_text(json.dumps(about))

    with pytest.raises(WorkspaceError, match="of two models"):
        Index.open(tmp_path / "second")


def test_what_an_index_may_lack(folder: Path) -> None:
    index = Index.open(folder)

    assert index.optional("price") is None
    assert index.labels is None
    assert list(index.categories) == []


def test_strings_are_found_by_what_they_are() -> None:
    strings = Strings.of(["B1", "B2", "Ä", "Äxyz"])

    assert strings.among({"B2", "Äxyz", "nowhere"}).tolist() == [False, True, False, True]
    assert strings.among(set()).tolist() == [False] * 4
    assert [strings.position(text) for text in ("B1", "B15", "Äxyz", "ä")] == [0, 1, 3, 4]
    assert strings.alike("X2", 1) == [1]
    assert strings.alike("", 3) == []


def test_a_tensor_that_is_missing(tmp_path: Path) -> None:
    tensors = _tensors()
    del tensors["complement.key"]
    write_index(tmp_path, tensors, {})

    with pytest.raises(WorkspaceError, match=r"complement\.key"):
        Index.open(tmp_path)
