"""Readers while `train` puts new indexes in place: each opens one version, none meets an error or a mixture."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from mmsc_cli.index.index_file import write_index
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.workspace import workspace as workspace_module
from mmsc_cli.workspace.workspace import Workspace

FORK = multiprocessing.get_context("fork")
COMMITS = 60


def _commit(workspace: Workspace, version: int, source: Path) -> None:
    """A training whose scores and probabilities say which version they are of."""
    tensors = {name: np.array(tensor) for name, tensor in load_file(source / "index.safetensors").items()}
    for relation in ("substitute", "complement"):
        tensors[f"{relation}.linear.values"] = np.zeros_like(tensors[f"{relation}.linear.values"])
        tensors[f"{relation}.query"] = np.full_like(tensors[f"{relation}.query"], version)
        tensors[f"{relation}.key"] = np.ones_like(tensors[f"{relation}.key"])
    about = json.loads((source / "index.json").read_bytes())
    with workspace.stage("train", {}) as run:
        write_index(run.directory("index"), tensors, about | {"model": f"version {version}", "distinct": version})
        nothing: dict[str, NDArray[np.float32]] = {"nothing": np.zeros(1, np.float32)}
        save_file(nothing, run.directory("model") / "model.safetensors", {"model": f"version {version}"})


def _version_of(recommender: Recommender) -> set[float]:
    """The versions that an answer, the index's description and the model speak of."""
    (first, *_) = recommender.substitutes("G000", 3)
    dim = recommender.index.vectors("substitute").key.shape[1]
    pinned = recommender._pins.path("model") / "model.safetensors"
    model = str(pinned.read_bytes()).partition("version ")[2].partition("\\")[0].partition('"')[0]
    return {round(first.score / dim), recommender.index.about["distinct"], int(model)}


def _while_committing(golden: Workspace, tmp_path: Path, read: Callable[[], None]) -> None:
    source = tmp_path / "source"
    golden.path("index").rename(source)
    _commit(golden, 1, source)

    def commit() -> None:
        for version in range(2, COMMITS):
            _commit(golden, version, source)

    writer = FORK.Process(target=commit)
    writer.start()
    while writer.is_alive():
        read()
    writer.join()
    assert writer.exitcode == 0


def test_every_opening_is_of_one_version(golden: Workspace, tmp_path: Path) -> None:
    opened: list[int] = []

    def read() -> None:
        versions = _version_of(Recommender.open(golden.root))
        assert len(versions) == 1, versions
        opened.append(int(versions.pop()))

    _while_committing(golden, tmp_path, read)
    assert opened == sorted(opened)
    assert len(set(opened)) > 5


def test_a_reader_stays_with_the_version_it_opened(golden: Workspace, tmp_path: Path) -> None:
    held: list[Recommender] = []

    def read() -> None:
        if not held:
            held.append(Recommender.open(golden.root))
        assert len(_version_of(held[0])) == 1

    _while_committing(golden, tmp_path, read)
    (left,) = golden.path(".staging").iterdir()
    assert {path.name for path in left.iterdir()} <= {"index", "model"}
    held.clear()
    _commit(golden, COMMITS, tmp_path / "source")
    assert not any(golden.path(".staging").iterdir()), "what nobody reads any more is gone"


def test_without_a_swap_of_two_names_readers_wait(
    golden: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "exchange", lambda *_: False)

    def read() -> None:
        assert len(_version_of(Recommender.open(golden.root))) == 1

    _while_committing(golden, tmp_path, read)


def test_a_training_that_was_killed_while_it_put_things_in_place_holds_no_reader_up(
    golden: Workspace, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    golden.path("index").rename(source)
    _commit(golden, 1, source)

    def die() -> None:
        Workspace._put_in_place = lambda *_: os._exit(9)  # type: ignore[method-assign]
        _commit(golden, 2, source)

    killed = FORK.Process(target=die)
    killed.start()
    killed.join()
    assert killed.exitcode == 9
    assert _version_of(Recommender.open(golden.root)) == {1}
