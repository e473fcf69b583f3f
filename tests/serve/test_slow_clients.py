"""Clients that are slow, silent or many keep nobody waiting."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack

from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.server import ServeFor

# As many as this process may open, beside what it has open already.
MANY = min(1_500, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)


def test_others_are_served_beside_silent_and_half_sent_requests(
    serve_for: ServeFor, trained: Workspace, item_ids: list[str]
) -> None:
    server = serve_for(trained.root)
    half_head = b"GET /v1/items/A HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
    half_body = (
        b"POST /v1/pairs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
    )
    rubbish = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20
    with ExitStack() as stack:
        for number in range(MANY):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall((b"", half_head, half_body, rubbish)[number % 4])
        for item_id in item_ids[:20]:
            assert server.client.get(f"/v1/items/{item_id}/substitutes").status_code == 200
        assert server.process.poll() is None
    assert server.client.get("/health/live").status_code == 200


def test_a_client_that_never_ends_its_request_is_disconnected(serve_for: ServeFor, trained: Workspace) -> None:
    server = serve_for(trained.root)
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(b"POST /v1/pairs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{")
        slow.settimeout(60)
        # What it gets is the end of the connection, at once or after a response that says why.
        content = b"".join(iter(lambda: _received(slow), b""))
    assert b" 200 " not in content


def test_a_head_without_end_is_not_kept(serve_for: ServeFor, trained: Workspace) -> None:
    server = serve_for(trained.root)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.settimeout(60)
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        try:
            while sent < 20 * 2**20:
                client.sendall(b"X: " + b"a" * 65_000 + b"\r\n")
                sent += 65_000
        except OSError:
            pass
    assert sent < 20 * 2**20


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(65_536)
    except ConnectionError:
        return b""
