"""A new index under a running server, and how a server ends."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from mmsc_cli.index.index_file import write_index
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.server import Served, ServeFor


def _digest(client: httpx.Client) -> str:
    return str(client.get("/health/ready").json()["index"])


def _train_again(workspace: Workspace, round_: int) -> None:
    """Put another index in place as `mmsc train` does; its scores are larger by the number of the round."""
    from mmsc_cli.index.index_file import Index

    with workspace.stage("train", {"round": round_}) as stage:
        for name in ("model", "judged"):
            shutil.copytree(workspace.path(name), stage.path(name))
        index = Index.open(workspace.path("index"))
        tensors = {name: tensor.copy() for name, tensor in index.tensors.items()}
        for relation in ("substitute", "complement"):
            tensors[f"{relation}.linear.values"] += 1
        about = {name: value for name, value in index.about.items() if name not in ("bytes", "pairs")}
        write_index(stage.directory("index"), tensors, {**about, "round": round_})


def _wait_for(client: httpx.Client, digest: str) -> None:
    end = time.monotonic() + 60
    while _digest(client) != digest:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_new_index_is_served_and_no_request_fails_or_mixes_two(
    serve_for: ServeFor, trained_copy: Workspace, item_ids: list[str]
) -> None:
    server = serve_for(trained_copy.root)
    seen: dict[str, set[str]] = {}
    failures: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        body = {"questions": [{"id": item_ids[0]}, {"id": item_ids[1]}], "k": 3}
        with httpx.Client(base_url=server.client.base_url, timeout=60, trust_env=False) as client:
            while not stop.is_set():
                response = client.post("/v1/answers", json=body)
                if response.status_code != 200:
                    failures.append(response.text)
                seen.setdefault(response.headers.get("etag", ""), set()).add(response.text)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    digests = {_digest(server.client)}
    for round_ in range(3):
        _train_again(trained_copy, round_)
        digest = trained_copy.manifest().stages["train"].outputs["index"]
        _wait_for(server.client, digest)
        digests.add(digest)
    stop.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(digests) == 4
    assert {tag.strip('"') for tag in seen} <= digests
    # One index, one answer: none is half of the old and half of the new.
    assert {tag: len(texts) for tag, texts in seen.items()} == dict.fromkeys(seen, 1)


@pytest.mark.parametrize("how", ["cut", "bit"])
def test_a_damaged_index_is_refused_and_the_old_one_goes_on(
    serve_for: ServeFor, trained_copy: Workspace, item_ids: list[str], how: str
) -> None:
    server = serve_for(trained_copy.root)
    path = f"/v1/items/{item_ids[0]}/substitutes"
    before = server.client.get(path)
    aside = Workspace(Path(shutil.copytree(trained_copy.root, trained_copy.root.parent / "aside")))
    _train_again(aside, 1)
    tensors = aside.root / "index" / "index.safetensors"
    times = tensors.stat()
    whole = tensors.read_bytes()
    content = bytearray(whole)
    if how == "cut":
        del content[-1000:]
    else:  # of the same size and time, which only reading it through shows
        content[-1000] ^= 0xFF
    tensors.write_bytes(content)
    os.utime(tensors, ns=(times.st_atime_ns, times.st_mtime_ns))
    for name in ("index", "model"):
        shutil.rmtree(trained_copy.root / name)
        shutil.copytree(aside.root / name, trained_copy.root / name)
    shutil.copy2(aside.root / "manifest.json", trained_copy.root / "manifest.json")

    server.wait_for("the old one goes on")
    ready = server.client.get("/health/ready")

    assert ready.status_code == 200
    assert "damaged" in ready.json()["refused"]
    assert str(trained_copy.root) not in ready.text
    assert server.client.get(path).json() == before.json()
    assert "mmsc_index_refused 1.0" in server.client.get("/metrics").text
    tensors.write_bytes(whole)
    shutil.copy2(tensors, trained_copy.root / "index" / tensors.name)
    shutil.copy2(aside.root / "manifest.json", trained_copy.root / "manifest.json.new")
    (trained_copy.root / "manifest.json.new").rename(trained_copy.root / "manifest.json")
    _wait_for(server.client, aside.manifest().stages["train"].outputs["index"])
    assert "refused" not in server.client.get("/health/ready").json()


def test_sigterm_lets_a_request_under_way_end(serve_for: ServeFor, trained: Workspace, item_ids: list[str]) -> None:
    server = serve_for(trained.root)
    body = {"questions": [{"id": item_id} for item_id in item_ids[:300]], "explain": True, "k": 50}
    answered: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answered.append(server.client.post("/v1/answers", json=body)))
    thread.start()
    time.sleep(0.3)

    assert server.stop() == 0
    thread.join()
    assert [response.status_code for response in answered] == [200]
    assert len(answered[0].json()["outcomes"]) == 300


def test_a_process_that_dies_is_replaced_and_all_end_together(serve_for: ServeFor, trained: Workspace) -> None:
    server = serve_for(trained.root, "--workers", "2")
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not list a process's children")
    first = set(children.read_text().split())
    os.kill(int(min(first)), signal.SIGKILL)
    server.wait_for("started again")
    end = time.monotonic() + 60
    while len(now := set(children.read_text().split())) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)

    assert len(first) == 2
    assert len(now - first) == 1
    for _ in range(5):
        assert httpx.get(f"{server.client.base_url}health/ready", timeout=60, trust_env=False).status_code == 200
    assert server.stop() == 0
    assert not any(Path(f"/proc/{child}").exists() for child in now)


def test_memory_of_a_served_index_is_let_go(serve_for: ServeFor, trained_copy: Workspace) -> None:
    server: Served = serve_for(trained_copy.root)
    maps = Path(f"/proc/{server.process.pid}/maps")
    if not maps.exists():
        pytest.skip("this system does not list what a process maps")
    for round_ in range(3):
        _train_again(trained_copy, round_)
        _wait_for(server.client, trained_copy.manifest().stages["train"].outputs["index"])
    server.client.get("/health/ready")
    mapped = {line.split()[4] for line in maps.read_text().splitlines() if "index.safetensors" in line}

    assert len(mapped) <= 2  # the one that is served, and one that a last request may hold
