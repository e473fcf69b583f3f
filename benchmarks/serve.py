"""What `mmsc serve` answers in a second, beside a constant of the same size from the same framework in the same run.

python -m benchmarks.serve                        one item at a time, a batch, memory, time until it is ready
python -m benchmarks.serve swap --minutes 30      load while a new index comes every 20 seconds
python -m benchmarks.serve connections            10,000 connections that never finish a request

The index is made on the spot, as `mmsc train` makes it: 100,000 items, two relations, 128 ranked candidates an item.
The load generator runs beside the server, so on two cores each has one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.measured import machine, markdown_table, run_mmsc
from mmsc_cli.index.index_file import write_index
from mmsc_cli.serve.settings import Limits
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.ranking.answers import Answers, compose
from tests.fixtures.made_up_index import made_up_index

CANDIDATES = 128
CONNECTIONS = 16
SECONDS = 10
BATCH = 1_000
ROUNDS = 10
IDLE = 10_000
LIMITS = Limits()
ONE, AGAIN, CONSTANT = "one item, k 10", "one of 1,000 items again", "a constant of the same size"


@dataclass(frozen=True)
class Load:
    """Requests per second, the median and the 99th percentile in milliseconds, and how many requests failed.

    `cpu` is what the server took of a processor, in microseconds a request: on a busy machine it says more than `rate`.
    """

    rate: float
    median: float
    p99: float
    failed: int
    size: int
    cpu: float


def main() -> None:
    """Measure, and write tables to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.serve"
    )
    parser.add_argument("what", nargs="?", choices=["rate", "swap", "connections"], default="rate")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of load, for each rate")
    parser.add_argument("--minutes", type=float, default=30, help="of load with new indexes")
    parser.add_argument("--workspace", type=Path, help="where to make the index, or to find it again; else temporary")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = make_workspace(given.workspace or Path(temporary) / "workspace", given.items)
        if given.what == "rate":
            table = rates(root, given.items, given.seconds)
        else:
            table = swaps(root, given.minutes) if given.what == "swap" else connections(root, given.items)
    sys.stdout.write(f"{machine()}; {given.items:,} items\n\n{table}")


def make_workspace(root: Path, items: int, shift: float = 0.0) -> Path:
    """A workspace with nothing but a made-up index."""
    if (root / "index" / "index.json").exists():
        return root
    (root / "index").mkdir(parents=True)
    tensors = made_up_index(items)
    generator = np.random.default_rng(2)
    for relation in RELATIONS:
        candidates = np.sort(generator.integers(0, items - CANDIDATES, (items, CANDIDATES)), axis=1)
        candidates += np.arange(CANDIDATES)  # each once
        scores = generator.gamma(1.0, 2.0, (2, items, CANDIDATES)).astype(np.float32) + np.float32(shift)
        composed = compose(
            tensors[f"{relation}.query"], tensors[f"{relation}.key"], Answers(candidates, scores), distinct=0.0
        )
        tensors[f"{relation}.query"], tensors[f"{relation}.key"] = composed.query, composed.key
        tensors[f"{relation}.linear.indptr"] = composed.rows.indptr.astype(np.int64)
        tensors[f"{relation}.linear.indices"] = composed.rows.indices.astype(np.int32)
        tensors[f"{relation}.linear.values"] = composed.rows.data
        tensors[f"{relation}.linear.by_distinct"] = composed.by_distinct.data
    write_index(root / "index", tensors, {"items": items, "dim": composed.key.shape[1], "ranked": True})
    return root


def rates(root: Path, items: int, seconds: int) -> str:
    """What one process answers, in turns with the constant, so that other work on the machine meets both."""
    ids = [f"B{row:09}" for row in np.random.default_rng(3).integers(0, items, 50_000).tolist()]
    paths = [f"/v1/items/{item_id}/{relation}s?k=10" for item_id in ids for relation in RELATIONS]
    with _server(root) as (process, port, ready):
        begun = sum(psutil.Process(process.pid).cpu_times()[:2])
        asyncio.run(_load(process.pid, port, paths[:2_000], 2))  # warms up
        size = asyncio.run(_load(process.pid, port, paths[:2_000], 1)).size
        with _constant(size) as (process_of_constant, port_of_constant):
            loads: dict[str, list[Load]] = {ONE: [], AGAIN: [], CONSTANT: []}
            for number in range(ROUNDS + 1):
                fresh = paths[2_000 + number * (len(paths) - 2_000) // (ROUNDS + 1) :]  # none is asked twice
                for name, asked in ((ONE, fresh), (AGAIN, paths[:2_000]), (CONSTANT, ["/constant"])):
                    of = (process_of_constant.pid, port_of_constant) if name == CONSTANT else (process.pid, port)
                    load = asyncio.run(_load(*of, asked, seconds / ROUNDS))
                    loads[name] += [load] if number else []  # the first round warms up
        memory = psutil.Process(process.pid).memory_info().rss
        batch = _batch_rate(port, ids)
        memory_after = psutil.Process(process.pid).memory_info().rss
    listed = root / "ids.txt"
    listed.write_text("".join(f"{item_id}\n" for item_id in ids[:10_000]))
    opening = run_mmsc("infer", "-w", root, "--items-from", _first(listed, 1), into=os.devnull)
    infer = run_mmsc("infer", "-w", root, "--items-from", listed, into=os.devnull)
    size_of_index = (root / "index" / "index.safetensors").stat().st_size
    median = {name: _median(of_name) for name, of_name in loads.items()}
    rows = [
        (
            name,
            f"{load.rate:,.0f}/s",
            f"{load.median:.2f} ms",
            f"{load.p99:.2f} ms",
            f"{load.cpu:.0f} µs",
            str(load.failed),
        )
        for name, load in median.items()
    ]
    table = markdown_table(("requests", "rate", "median", "99 %", "processor", "failed"), rows)
    figures = [
        ("rate of one item against the constant", f"{median[ONE].rate / median[CONSTANT].rate:.2f}"),
        ("the same by processor time", f"{median[CONSTANT].cpu / median[ONE].cpu:.2f}"),
        ("batches of 1,000, items/s", f"{batch:,.0f}"),
        ("`infer --items-from`, items/s", f"{9_999 / (infer.seconds - opening.seconds):,.0f}"),
        ("resident memory against the index", f"{memory / size_of_index:.2f}"),
        ("the same after batches", f"{memory_after / size_of_index:.2f}"),
        ("seconds until ready", f"{ready:.2f} ({begun:.2f} of a processor)"),
    ]
    return f"{table}\n{markdown_table(('what', 'figure'), figures)}"


def _median(loads: Sequence[Load]) -> Load:
    """The median of each figure; all that failed."""

    def of(name: str) -> float:
        return float(statistics.median(getattr(load, name) for load in loads))

    failed = sum(load.failed for load in loads)
    return Load(of("rate"), of("median"), of("p99"), failed, loads[0].size, of("cpu"))


def connections(root: Path, items: int) -> str:
    """How others are served beside clients that stay silent, or stop in a head or in a body."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * IDLE, hard) if hard > 0 else 2 * IDLE, hard))
    path = f"/v1/items/B{items // 2:09}/substitutes"
    begun = (
        b"POST /v1/pairs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    with _server(root) as (process, port, _), ExitStack() as stack:
        server = psutil.Process(process.pid)
        before = server.memory_info().rss
        for number in range(IDLE):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall((b"", b"GET / HTTP/1.1\r\nX: ", begun)[number % 3])
        asyncio.run(_load(process.pid, port, [path], 1, connections=1))  # all are accepted by then
        load = asyncio.run(_load(process.pid, port, [path], 5, connections=1))
        grown = server.memory_info().rss - before
        time.sleep(LIMITS.sending + 5)
        left = sum(connection.status == psutil.CONN_ESTABLISHED for connection in server.net_connections())
    figures = [
        ("median beside them", f"{load.median:.1f} ms"),
        ("99 % beside them", f"{load.p99:.1f} ms"),
        ("failed beside them", str(load.failed)),
        ("memory for them", f"{grown / 2**20:.0f} MiB"),
        (f"open {LIMITS.sending + 5:.0f} seconds later", str(left)),
    ]
    return markdown_table((f"{IDLE:,} idle connections", "figure"), figures)


def swaps(root: Path, minutes: float, every: float = 20) -> str:
    """Load on one process while another index is put in place every few seconds."""
    from mmsc_cli.runtime.atomic import exchange
    from mmsc_cli.workspace.checksums import describe
    from mmsc_cli.workspace.manifest_file import write_manifest_file

    items = json.loads((root / "index" / "index.json").read_bytes())["items"]
    other = make_workspace(root.parent / f"{root.name}-other", items, shift=1.0)

    def record() -> None:
        files = describe(root, "index")
        entry = {"config": {}, "inputs": {}, "files": files, "counts": {}, "seconds": 0, "finished": "", "software": {}}
        write_manifest_file(root, {"format_version": 1, "stages": {"train": entry}})

    record()
    rows = []
    paths = [f"/v1/items/B{row:09}/substitutes?k=10" for row in range(0, items, 7)]
    with _server(root) as (process, port, _):
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            load = asyncio.run(_load(process.pid, port, paths, every))
            memory = psutil.Process(process.pid).memory_full_info().uss / 2**20
            rows.append((f"{load.rate:,.0f}/s", f"{load.p99:.1f} ms", str(load.failed), f"{memory:.0f} MiB"))
            write_manifest_file(root, {"format_version": 1, "stages": {}})
            assert exchange(other / "index", root / "index")
            record()
    return markdown_table(("rate", "99 %", "failed", "own memory"), rows)


@contextmanager
def _server(root: Path) -> Iterator[tuple[subprocess.Popen[str], int, float]]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "mmsc_cli", "serve", "-w", str(root), "--port", "0"]
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stderr=log, text=True) as process:
        while not (found := re.search(r":(\d+)/", _written(log.fileno()))):
            if process.poll() is not None:
                sys.exit(_written(log.fileno()))
            time.sleep(0.01)
        try:
            yield process, int(found[1]), time.perf_counter() - started
        finally:
            process.send_signal(signal.SIGTERM)


def _written(descriptor: int) -> str:
    return os.pread(descriptor, 10_000, 0).decode()


APPLICATION = """
import sys, uvicorn
from fastapi import FastAPI, Response
app, content = FastAPI(), b"x" * int(sys.argv[2])

@app.get("/constant")
async def constant():
    return Response(content, media_type="application/json")

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


@contextmanager
def _constant(size: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, "-c", APPLICATION, str(port), str(size)]) as process:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield process, port
        process.terminate()


async def _load(pid: int, port: int, paths: Sequence[str], seconds: float, connections: int = CONNECTIONS) -> Load:
    """Ask on some connections at once, each waiting for its answer, with as little work as possible."""
    times: list[float] = []
    sizes: list[int] = []
    failed = 0
    end = time.perf_counter() + seconds

    async def ask(first: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        place = first
        while (begun := time.perf_counter()) < end:
            path = paths[place % len(paths)]
            place += connections
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
            await reader.readexactly(size)
            times.append(time.perf_counter() - begun)
            sizes.append(size)
            failed += not head.startswith(b"HTTP/1.1 200")
        writer.close()

    before = psutil.Process(pid).cpu_times()
    await asyncio.gather(*map(ask, range(connections)))
    after = psutil.Process(pid).cpu_times()
    taken = after.user + after.system - before.user - before.system
    ordered = sorted(times)
    return Load(
        len(times) / seconds,
        1000 * statistics.median(ordered),
        1000 * ordered[int(0.99 * len(ordered))],
        failed,
        int(statistics.mean(sizes)),
        1e6 * taken / len(times),
    )


def _batch_rate(port: int, ids: Sequence[str]) -> float:
    """Items per second in batches, both relations."""
    import httpx

    seconds = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
        for start in range(0, 6 * BATCH, BATCH):
            body = {"questions": [{"id": item_id} for item_id in ids[start : start + BATCH]]}
            begun = time.perf_counter()
            client.post("/v1/answers", json=body).raise_for_status()
            seconds.append(time.perf_counter() - begun)
    return BATCH / statistics.median(seconds)


def _first(listed: Path, count: int) -> Path:
    path = listed.with_name("first.txt")
    path.write_text("".join(listed.read_text().splitlines(keepends=True)[:count]))
    return path


if __name__ == "__main__":
    main()
