"""Shares in other processes, of which one is killed in the middle, give the same to the byte as this process alone."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmsc_cli.encode import part_files
from mmsc_cli.encode.stage import run_encode
from mmsc_cli.index.filters import Filters
from mmsc_cli.infer.catalogue import answer_parts
from mmsc_cli.infer.catalogue.wanted import Wanted
from mmsc_cli.recipe.loading import change_recipe
from mmsc_cli.runtime.machine.device import named_device
from mmsc_cli.runtime.shares.on_ray import RayTasks
from mmsc_cli.runtime.shares.processes import Processes
from mmsc_cli.runtime.shares.runner import Runner
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.shares import PART_INPUTS, EndsOnce, kill_this_process, wait_for_the_end_of_this_node

if TYPE_CHECKING:
    from tests.conftest import Mmsc


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Ray cluster on this machine: two nodes with a processor each, and a head with none."""
    if find_spec("ray") is None:
        pytest.skip("the extra ray is not installed")
    before = dict(os.environ)
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text("a" * 64)
    # Before the import, which reads it.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    yield made
    made.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(params=["a process", pytest.param("a node", marks=pytest.mark.ray)])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    """In the middle of a share of which its process, or the node of Ray that it is on, is killed."""
    flag = tmp_path / "ended"
    if request.param == "a process":
        yield EndsOnce(Processes(2), kill_this_process, flag)
    else:
        cluster, told = request.getfixturevalue("cluster"), tmp_path / "node"
        killer = threading.Thread(target=_remove_node, args=(cluster, told), daemon=True)
        killer.start()
        runner = RayTasks(cluster.address, 2)
        yield EndsOnce(runner, functools.partial(wait_for_the_end_of_this_node, told), flag)
        killer.join(60)
        assert not killer.is_alive()
        cluster.add_node(num_cpus=1)
    assert flag.exists()


def _remove_node(cluster: Any, told: Path) -> None:
    while not told.exists():
        time.sleep(0.1)
    (node,) = (node for node in cluster.worker_nodes if node.node_id == told.read_text())
    cluster.remove_node(node, allow_graceful=False)


def encoded(workspace: Workspace, runner: Runner | None) -> dict[str, bytes]:
    recipe = change_recipe(workspace.manifest().stages["prepare"].config["recipe"], [], {"encode.encoder": "classic"})
    counts = run_encode(workspace, recipe, functools.partial(named_device, "cpu"), runner=runner, fresh=True)
    assert counts["texts"] == 300
    folder = workspace.path("embeddings")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_encode_is_the_same_though_one_is_killed(
    prepared_copy: Workspace, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoded(prepared_copy, None)
    monkeypatch.setattr(part_files, "PART_INPUTS", PART_INPUTS)
    assert encoded(prepared_copy, runner) == whole
    assert not prepared_copy.path("encoding").exists()


def test_answers_are_the_same_though_one_is_killed(
    trained_copy: Workspace, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_parts, "PART_ITEMS", 40)
    wanted = Wanted(trained_copy.root, "both", 3, Filters(novel=True), explain=True, fallback=True)
    recommender = wanted.open()
    ids = list(recommender.index.ids)
    alone = list(wanted.answer(recommender, ids))
    with answer_parts.answered_by(runner, wanted, len(ids)) as answer:
        assert [*answer(ids[:100]), *answer(ids[100:])] == alone
    assert not trained_copy.path("answering").exists()


@pytest.mark.parametrize("form", [("--format", "jsonl", "--explain"), ("--format", "parquet"), ("--fallback",)])
def test_infer_writes_the_same_with_workers(
    mmsc: Mmsc, trained: Workspace, form: tuple[str, ...], tmp_path: Path
) -> None:
    for name, where in (("one", ()), ("two", ("--workers", "2"))):
        ran = mmsc("infer", "--all", *form, *where, "-w", trained.root, "--to", tmp_path / f"{name}.tsv")
        assert ran.code == 0
    assert (tmp_path / "one.tsv").read_bytes() == (tmp_path / "two.tsv").read_bytes()
