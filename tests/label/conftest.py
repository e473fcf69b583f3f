"""Small catalogues, pair tables, and a server on this machine that answers whatever a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mmsc_cli.tables.items import ITEM_SCHEMA
from mmsc_cli.tables.pairs import STRENGTHS, Pairs

Reply = Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]


@pytest.fixture
def make_items() -> Callable[[Sequence[Mapping[str, Any]]], pa.Table]:
    """Item table from partial rows; what a row does not say is empty."""

    def make(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        empty = {"title": "", "description": "", "brand": "", "category": [], "price": float("nan")}
        nowhere = {"image_url": None, "image_path": None, "split": "warm"}
        full = [{"item_id": f"I{row:04d}"} | empty | nowhere | dict(given) for row, given in enumerate(rows)]
        return pa.Table.from_pylist(full, schema=ITEM_SCHEMA)

    return make


@pytest.fixture
def make_pairs() -> Callable[[Sequence[tuple[int, int, float, float, str]]], Pairs]:
    """Pair table from (a, b, view strength, buy strength, split)."""

    def make(rows: Sequence[tuple[int, int, float, float, str]]) -> Pairs:
        strengths: dict[str, Any] = {
            name: np.array([row[2 if name.startswith("view") else 3] for row in rows], dtype=np.float32)
            for name in STRENGTHS
        }
        return Pairs(
            a=np.array([row[0] for row in rows], dtype=np.int32),
            b=np.array([row[1] for row in rows], dtype=np.int32),
            split=np.array([row[4] for row in rows], dtype=np.str_),
            **strengths,
        )

    return make


@pytest.fixture
def shop(make_items: Callable[[Sequence[Mapping[str, Any]]], pa.Table]) -> pa.Table:
    """120 items: 4 kinds of 30; every tenth is cold."""
    kinds = ("phone", "case", "shampoo", "kettle")
    return make_items(
        [
            {
                "title": f"{kinds[row % 4]} model{row // 8} colour{row % 5}",
                "brand": f"brand{row % 7}",
                "category": ["Shop", kinds[row % 4]],
                "price": 5.0 + row,
                "split": "cold_test" if row % 10 == 0 else "warm",
            }
            for row in range(120)
        ]
    )


@pytest.fixture
def behaviour(make_pairs: Callable[[Sequence[tuple[int, int, float, float, str]]], Pairs]) -> Pairs:
    """Pairs of the shop; those with a cold end are test pairs, some of the others valid or test."""
    generator = np.random.default_rng(7)
    rows = []
    for a in range(120):
        for b in sorted(generator.choice(120, size=8, replace=False).tolist()):
            if a < b:
                view, buy = generator.choice([0.0, 0.7, 1.5], size=2, p=[0.3, 0.4, 0.3]).tolist()
                cold = a % 10 == 0 or b % 10 == 0
                split = "test" if cold else str(generator.choice(["train", "valid", "test"], p=[0.7, 0.15, 0.15]))
                rows.append((a, b, view, buy or 0.6, split))
    return make_pairs(rows)


@pytest.fixture
def fake_llm() -> Iterator[Callable[..., tuple[str, list[dict[str, Any]]]]]:
    """Start a server whose replies (status, headers, body) a function makes of the request's JSON.

    A reply that raises ConnectionAbortedError drops the connection. With `owned_by` it lists a model, as vLLM does.
    Gives the base URL and the questions seen.
    """
    servers: list[ThreadingHTTPServer] = []

    def start(reply: Reply, owned_by: str = "") -> tuple[str, list[dict[str, Any]]]:
        seen: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                models = {"data": [{"id": "some-model", "owned_by": owned_by}]} if owned_by else {}
                self._send(200 if owned_by else 404, {}, json.dumps(models).encode())

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                seen.append(
                    request
                    | {
                        "path": self.path,
                        "authorization": self.headers.get("Authorization"),
                        "accept_encoding": self.headers.get("Accept-Encoding"),
                    }
                )
                try:
                    status, headers, body = reply(request)
                except ConnectionAbortedError:
                    self.close_connection = True
                    return
                self._send(status, headers, body)

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.close_connection = True
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body)), "Connection": "close"} | headers).items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                with suppress(ConnectionError):  # a client may have had enough
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", seen

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def completion() -> Callable[[Mapping[str, float] | None, str], tuple[int, dict[str, str], bytes]]:
    """A chat completion with the given probabilities of tokens (None: no log-probabilities) and text."""

    def make(probabilities: Mapping[str, float] | None, text: str) -> tuple[int, dict[str, str], bytes]:
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "logprobs": None,
        }
        if probabilities is not None:
            top = [{"token": token, "logprob": float(np.log(p))} for token, p in probabilities.items()]
            choice["logprobs"] = {"content": [{"token": text, "logprob": -0.1, "top_logprobs": top}]}
        return 200, {"Content-Type": "application/json"}, json.dumps({"choices": [choice]}).encode()

    return make


@pytest.fixture
def letter_of() -> Callable[[dict[str, Any], str], str]:
    """The letter behind which a request offers an option, by how the option begins."""

    def find(request: dict[str, Any], meaning: str) -> str:
        lines = request["messages"][-1]["content"].splitlines()
        letters: list[str] = [line[0] for line in lines if line[1:].startswith(f": {meaning}")]
        return letters[0]

    return find
