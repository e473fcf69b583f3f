"""Who may ask `mmsc serve`, and how much."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.server import Served, ServeFor

if TYPE_CHECKING:
    from tests.conftest import Mmsc

KEY = "correct-horse-battery"


def test_other_machines_are_let_in_with_a_key_or_on_purpose(
    mmsc: Mmsc, trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MMSC_API_KEY", raising=False)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        ran = mmsc("serve", "-w", trained.root, "--host", host, "--port", 0)
        assert ran.code == 2
        assert "MMSC_API_KEY" in ran.err
        assert "--no-auth" in ran.err


def test_a_workspace_without_an_index_is_refused_at_once(mmsc: Mmsc, prepared: Workspace) -> None:
    ran = mmsc("serve", "-w", prepared.root, "--port", 0)

    assert ran.code == 2
    assert "mmsc encode" in ran.err


def test_a_port_in_use_is_named(mmsc: Mmsc, trained: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = mmsc("serve", "-w", trained.root, "--port", port)

    assert ran.code == 2
    assert f"port {port}" in ran.err


def test_requests_are_objects_of_a_log_in_json(serve_for: ServeFor, trained: Workspace) -> None:
    server = serve_for(trained.root, "--log-format", "json")
    server.client.get("/health/live")
    assert server.stop() == 0

    lines = [json.loads(line) for line in server.lines]
    (request,) = [line for line in lines if line.get("path") == "/health/live"]
    assert (request["command"], request["method"], request["status"]) == ("serve", "GET", 200)


def test_the_key_is_needed_and_never_logged(serve_for: ServeFor, trained: Workspace, item_ids: list[str]) -> None:
    server = serve_for(trained.root, "--host", "0.0.0.0", MMSC_API_KEY=KEY)
    path = f"/v1/items/{item_ids[0]}/substitutes"

    refused = [
        server.client.get(path),
        server.client.get(path, headers={"Authorization": f"Bearer {KEY}x"}),
        server.client.get(path, headers={"Authorization": f"Basic {KEY}"}),
        server.client.get("/metrics"),
        server.client.get("/version"),
        server.client.put("/v1/stock", json={"ids": []}),
    ]
    let_in = server.client.get(f"{path}?k=2", headers={"Authorization": f"Bearer {KEY}"})

    assert {response.status_code for response in refused} == {401}
    assert {response.headers["www-authenticate"] for response in refused} == {"Bearer"}
    assert let_in.status_code == 200
    assert server.client.get("/health/live").status_code == 200
    assert server.client.get("/").status_code == 200
    server.client.get(f"{path}?k={KEY}", headers={"Authorization": f"Bearer {KEY}"})
    assert server.stop() == 0
    assert f"GET {path} 200" in server.log()
    assert f"GET {path} 401" in server.log()
    assert KEY not in server.log()


def test_a_page_elsewhere_cannot_read_answers_by_a_name_of_its_own(served: Served, item_ids: list[str]) -> None:
    path = f"/v1/items/{item_ids[0]}/substitutes"
    evil = served.client.get(path, headers={"Host": "evil.example"})
    asked_from = served.client.get(path, headers={"Origin": "https://evil.example"})
    simple = served.client.post("/v1/pairs", content="{}", headers={"Content-Type": "text/plain"})

    assert evil.status_code == 421
    assert "access-control-allow-origin" not in asked_from.headers
    assert simple.status_code == 415


def test_pages_of_a_named_origin_may_ask(serve_for: ServeFor, trained: Workspace, item_ids: list[str]) -> None:
    client = serve_for(trained.root, "--cors", "https://shop.example").client
    path = f"/v1/items/{item_ids[0]}/substitutes"

    allowed = client.get(path, headers={"Origin": "https://shop.example"})
    other = client.get(path, headers={"Origin": "https://evil.example"})

    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in other.headers


def test_a_body_has_limits(served: Served) -> None:
    large = served.client.put("/v1/stock", content=b"[" * 5_000_000, headers={"Content-Type": "application/json"})

    def chunks() -> object:
        for _ in range(100):
            yield b" " * 100_000

    endless = served.client.put("/v1/stock", content=chunks(), headers={"Content-Type": "application/json"})  # type: ignore[arg-type]
    many = served.client.post("/v1/answers", json={"questions": [{"id": "A"}] * 1_001})
    deep = served.client.put("/v1/stock", content=b"[" * 100_000, headers={"Content-Type": "application/json"})

    assert [large.status_code, endless.status_code, many.status_code, deep.status_code] == [413, 413, 422, 422]


def test_what_is_served_may_not_be_framed_nor_load_from_elsewhere(served: Served) -> None:
    policy = served.client.get("/").headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert served.client.get("/health/live").headers["x-content-type-options"] == "nosniff"


def test_requests_are_counted(served: Served, item_ids: list[str]) -> None:
    served.client.get(f"/v1/items/{item_ids[0]}/substitutes")
    text = served.client.get("/metrics").text

    assert 'mmsc_requests_total{route="/v1/items/{item_id}/substitutes",status="200"}' in text
    assert "mmsc_index_refused 0.0" in text
    assert item_ids[0] not in text
