"""A real vLLM server on the CPU, with a tiny random model: started by us, and as an endpoint.

MMSC_VLLM_PYTHON names the Python of an environment that holds it, as `.ci/run` does; without it these are skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from mmsc_cli.label.llm import endpoint
from mmsc_cli.label.llm.prompt import RELATION
from mmsc_cli.label.llm.reply import Reply
from mmsc_cli.label.vllm.server import Server, serve
from mmsc_cli.label.vllm.settings import ServerSettings
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.labels import Labels
from mmsc_cli.workspace.workspace import Workspace

VLLM_PYTHON = os.environ.get("MMSC_VLLM_PYTHON")
ROOT = Path(__file__).parents[3]
SHARD = ("--set", "label.shard_pairs=10", "--set", "label.concurrency=4", "--set", "label.least_mass=0")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VLLM_PYTHON, reason="MMSC_VLLM_PYTHON names no environment with vLLM"),
]


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model."""
    folder = tmp_path_factory.mktemp("tiny") / "llama"
    assert VLLM_PYTHON is not None
    subprocess.run(
        [VLLM_PYTHON, ROOT / "tests" / "fixtures" / "tiny_llama.py", folder], check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def server(tiny_llama: Path) -> Iterator[Server]:
    """A server of that model, for all tests that do not start their own."""
    with (
        serve(str(tiny_llama), tiny_llama / "vllm.log", ServerSettings()) as up,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setenv("MMSC_API_KEY", up.key)
        yield up


def command(workspace: Workspace, model: Path, *arguments: object) -> list[str]:
    words = ["label", "--model", model, "-w", workspace.root, "--json", *SHARD, *arguments]
    return [sys.executable, "-m", "mmsc_cli", *map(str, words)]


def shards(workspace: Workspace) -> int:
    return len(list(workspace.path("answers").glob("answers-*.parquet")))


def kill_when(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> list[psutil.Process]:
    """SIGKILL a process once something is so; returns what it had started."""
    while not ready():
        assert process.poll() is None, "it ended before"
        time.sleep(0.05)
    started: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return started


def test_started_by_us_killed_and_continued(tiny_llama: Path, prepared_copy: Workspace) -> None:
    asking = command(prepared_copy, tiny_llama, "--budget", 60)
    with subprocess.Popen(asking, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        started = kill_when(process, lambda: shards(prepared_copy) >= 3)
    assert len(started) >= 2  # the server and its engine
    assert psutil.wait_procs(started, timeout=20)[1] == []
    kept = shards(prepared_copy) * 5

    ran = subprocess.run(asking, capture_output=True, text=True, check=True)
    counts = json.loads(ran.stdout)["counts"]
    assert counts["labelled"] == 60
    assert counts["reused"] >= kept
    assert counts["failed"] == 0
    labels = Labels.read(prepared_copy.path("labels.parquet"))
    assert len(labels) == 60
    # It knows nothing, so that hardly any probability falls on letters; but what does is told.
    assert 0 < labels.label_mass.max() < 0.2
    assert "vLLM is up after" in ran.stderr
    again = subprocess.run(asking, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["counts"]["asked"] == 0


def test_as_an_endpoint_killed_at_any_moment_nothing_is_asked_twice(
    server: Server, tiny_llama: Path, prepared_copy: Workspace
) -> None:
    asking = command(prepared_copy, tiny_llama, "--endpoint", server.url, "--budget", 100)
    for moment in (1, 4):
        with subprocess.Popen(asking, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            enough = shards(prepared_copy) + moment
            kill_when(process, partial(lambda least: shards(prepared_copy) >= least, enough))
    counts = json.loads(subprocess.run(asking, capture_output=True, check=True).stdout)["counts"]
    assert counts["asked"] + counts["reused"] == counts["labelled"] == 100
    assert counts["reused"] >= 5 * 5
    assert counts["tokens"] > 100 * counts["asked"]
    assert server.ended() is None


def test_a_structured_choice_is_one_of_the_letters(
    server: Server, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_WAYS", endpoint._WAYS[2:])  # as if it gave no log-probabilities
    questions = RELATION.ask('{"title": "kettle"}', '{"title": "teapot"}', ("kettle", "teapot"))

    async def ask() -> list[Reply]:
        async with endpoint.Endpoint(server.url, str(tiny_llama), 60) as asked:
            return [await asked.ask(question) for question in questions]

    for answer in asyncio.run(ask()):
        assert sorted(answer.by_letter) == [0, 0, 1]
        assert answer.label_mass == 1


def test_gold_and_the_time_it_takes(server: Server, tiny_llama: Path, prepared_copy: Workspace) -> None:
    item_ids = read_items(prepared_copy.path("items.parquet"))["item_id"].to_pylist()
    gold = prepared_copy.root / "gold.jsonl"
    rows = [{"a": a, "b": b, "label": "neither"} for a, b in zip(item_ids[:20], item_ids[20:40], strict=True)]
    gold.write_text("\n".join(map(json.dumps, rows)))
    asking = command(prepared_copy, tiny_llama, "--endpoint", server.url, "--budget", 20)
    ran = subprocess.run([*asking, "--gold", gold], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)["counts"]["gold"]
    assert found["pairs"] == 20
    assert sum(found["confusion"]["neither"].values()) == 20
    planned = subprocess.run([*asking, "--dry-run"], capture_output=True, check=True)
    assert json.loads(planned.stdout)["estimate"] == "the last run with this model here"


def test_a_model_that_cannot_be_served_shows_why(tmp_path: Path, prepared_copy: Workspace) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"model_type": "no-such-model"}')
    ran = subprocess.run(command(prepared_copy, tmp_path / "broken"), capture_output=True, text=True, check=False)
    assert ran.returncode == 4
    assert "vLLM ended with status" in ran.stderr
    assert "no-such-model" in ran.stderr
    assert "vllm.log" in ran.stderr
