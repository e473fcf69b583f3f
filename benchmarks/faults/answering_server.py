"""A server on this machine that stands in for a language model: slow, and always of the same opinion."""

from __future__ import annotations

import json
import math
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from mmsc_cli.label.llm.prompt import LETTERS

_SECONDS = 0.01


class AnsweringServer:
    """A context manager; answers every chat completion by the hash of its question."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> AnsweringServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: who asked was killed in the midst of it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(404, b"{}")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(_SECONDS)
        digest = sha256(request["messages"][-1]["content"].encode()).digest()
        shares = [1 + byte for byte in digest[: len(LETTERS)]]
        top = [
            {"token": letter, "logprob": math.log(share / sum(shares))}
            for letter, share in zip(LETTERS, shares, strict=True)
        ]
        text = LETTERS[shares.index(max(shares))]
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "logprobs": {"content": [{"token": text, "logprob": -0.1, "top_logprobs": top}]},
        }
        self._send(200, json.dumps({"choices": [choice]}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        """Say nothing."""
