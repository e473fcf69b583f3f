"""Readers while `train` puts new indexes in place: each opens one version, none meets an error or a mixture."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.faults.readers import commit, commits, versions_of
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.workspace import workspace as workspace_module
from mmsc_cli.workspace.workspace import Workspace

FORK = multiprocessing.get_context("fork")
COMMITS = 60


def _while_committing(golden: Workspace, tmp_path: Path, read: Callable[[], None]) -> None:
    with commits(golden, tmp_path / "source", most=COMMITS) as done:
        while done() > 0:
            read()


def test_every_opening_is_of_one_version(golden: Workspace, tmp_path: Path) -> None:
    opened: list[int] = []

    def read() -> None:
        versions = versions_of(Recommender.open(golden.root))
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
        assert len(versions_of(held[0])) == 1

    _while_committing(golden, tmp_path, read)
    (left,) = golden.path(".staging").iterdir()
    assert {path.name for path in left.iterdir()} <= {"index", "model"}
    held.clear()
    commit(golden, COMMITS, tmp_path / "source")
    assert not any(golden.path(".staging").iterdir()), "what nobody reads any more is gone"


def test_without_a_swap_of_two_names_readers_wait(
    golden: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "exchange", lambda *_: False)

    def read() -> None:
        assert len(versions_of(Recommender.open(golden.root))) == 1

    _while_committing(golden, tmp_path, read)


def test_a_training_that_was_killed_while_it_put_things_in_place_holds_no_reader_up(
    golden: Workspace, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    golden.path("index").rename(source)
    commit(golden, 1, source)

    def die() -> None:
        Workspace._put_in_place = lambda *_: os._exit(9)  # type: ignore[method-assign]
        commit(golden, 2, source)

    killed = FORK.Process(target=die)
    killed.start()
    killed.join()
    assert killed.exitcode == 9
    assert versions_of(Recommender.open(golden.root)) == {1}
