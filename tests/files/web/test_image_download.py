"""Against a real server on this machine, over TLS with a certificate made on the spot."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmsc_cli.files.settings import DownloadSettings
from mmsc_cli.files.web import image_download
from mmsc_cli.files.web.image_download import download_images

Answer = Callable[[BaseHTTPRequestHandler], None]


def _png(colour: str = "red", side: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


def _body(content: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., tuple[dict[str, bytes], dict[str, str]]]:
    """Fetch addresses into one cache: the content of what came, the reason for what did not."""

    def run(*urls: str, **given: Any) -> tuple[dict[str, bytes], dict[str, str]]:
        settings = DownloadSettings(**{"allow_private": True, "backoff": 0.01, "timeout": 5} | given)
        files, reasons = download_images(urls, tmp_path / "cache", settings)
        return {url: path.read_bytes() for url, path in files.items()}, reasons

    return run


def test_images_come_once_and_are_named_by_their_format(server: Any, fetch: Any, tmp_path: Path) -> None:
    url = server.serve("/a", _body(_png()))
    assert fetch(url, url) == ({url: _png()}, {})
    assert fetch(url) == ({url: _png()}, {})
    assert server.asked["/a"] == 1
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".png"]


def test_what_may_pass_is_tried_again(server: Any, fetch: Any) -> None:
    url = server.serve("/a", _body(b"", 503), _body(b"", 429, Retry_After="0"), _body(_png()))
    assert fetch(url, retries=2)[0] == {url: _png()}
    assert server.asked["/a"] == 3


def test_after_the_last_try_the_reason_stays(server: Any, fetch: Any) -> None:
    url = server.serve("/a", _body(b"", 503))
    assert fetch(url, retries=1) == ({}, {url: "the server answers 503"})
    assert server.asked["/a"] == 2


def test_what_the_server_refuses_is_not_tried_again(server: Any, fetch: Any) -> None:
    url = server.serve("/a", _body(b"", 404))
    assert fetch(url) == ({}, {url: "the server answers 404"})
    assert server.asked["/a"] == 1


def test_a_broken_body_is_tried_again(server: Any, fetch: Any) -> None:
    def breaks_off(handler: BaseHTTPRequestHandler) -> None:
        _body(_png()[:20], Content_Length="9999")(handler)
        handler.close_connection = True

    url = server.serve("/a", breaks_off, _body(_png()))
    assert fetch(url)[0] == {url: _png()}


@pytest.mark.parametrize(
    ("content", "given", "reason"),
    [
        (b"<html>", {}, "not an image of a format we take (JPEG, PNG, WEBP)"),
        (b"", {}, "the file is empty"),
        (_png(side=400)[:-40], {}, "damaged"),
        (_png(side=400), {"max_pixels": 100}, "400 x 400 pixels, over the limit of 100"),
        (b"x" * 5_000, {"max_bytes": 4_000}, "more than 4,000 bytes"),
    ],
)
def test_what_is_no_image_of_ours_has_a_reason(
    server: Any, fetch: Any, content: bytes, given: dict[str, Any], reason: str
) -> None:
    good, bad = server.serve("/good", _body(_png(side=5))), server.serve("/bad", _body(content))
    found, reasons = fetch(good, bad, **given)
    assert list(found) == [good]
    assert reason in reasons[bad]


def test_no_more_than_the_limits_at_once(server: Any, fetch: Any) -> None:
    together = threading.Barrier(3)

    def wait(handler: BaseHTTPRequestHandler) -> None:
        # Passes only if three are here together.
        together.wait(timeout=10)
        _body(_png())(handler)

    urls = [server.serve(f"/{number}", wait) for number in range(9)]
    assert len(fetch(*urls, concurrency=8, per_host=3)[0]) == 9
    assert server.most_at_once == 3


def test_loopback_is_refused_unless_allowed(server: Any, fetch: Any) -> None:
    url = server.serve("/a", _body(_png()))
    found, reasons = fetch(url, allow_private=False)
    assert not found
    assert "not a public address" in reasons[url]
    assert not server.asked


def test_plain_http_is_asked_over_https_unless_allowed(server: Any, fetch: Any) -> None:
    plain = server.serve("/a", _body(_png())).replace("https://", "http://")
    assert fetch(plain)[0] == {plain: _png()}
    open_server = server.beside(None)
    url = open_server.serve("/a", _body(_png("blue")))
    assert fetch(url, allow_http=True)[0] == {url: _png("blue")}
    open_server.http.shutdown()


@pytest.mark.parametrize("to", ["http://localhost:1/a", "ftp://localhost/a", "file:///etc/passwd"])
def test_a_redirect_does_not_lead_away_from_https(server: Any, fetch: Any, to: str) -> None:
    url = server.serve("/a", _body(b"", 302, Location=to))
    found, reasons = fetch(url)
    assert not found
    assert "is not https" in reasons[url]


def test_a_redirect_is_followed_but_not_for_ever(server: Any, fetch: Any) -> None:
    there = server.serve("/there", _body(_png()))
    url, ring = (
        server.serve("/a", _body(b"", 302, Location="/there")),
        server.serve("/ring", _body(b"", 302, Location="/ring")),
    )
    found, reasons = fetch(url, ring, there)
    assert set(found) == {url, there}
    assert "redirect" in reasons[ring]


@pytest.mark.parametrize(
    "url", ["ftp://x.example/a", "https://", "https://x.example:port/", "nonsense", "https://[::1/"]
)
def test_what_is_no_address_has_a_reason(fetch: Any, url: str) -> None:
    found, reasons = fetch(url, retries=0)
    assert not found
    assert reasons[url]


def test_the_next_run_fetches_only_what_is_missing(server: Any, fetch: Any) -> None:
    urls = [server.serve(f"/{number}", _body(_png())) for number in range(6)]
    fetch(*urls[:3])
    assert len(fetch(*urls)[0]) == 6
    assert set(server.asked.values()) == {1}


def test_a_host_that_fails_the_same_way_five_times_in_a_row_is_asked_no_more(server: Any, fetch: Any) -> None:
    urls = [server.serve(f"/{number}", _body(b"", 403)) for number in range(9)]
    _, reasons = fetch(*urls, concurrency=1)
    assert sum(server.asked.values()) == 5
    assert sum("failed 5 times in a row: the server answers 403" in reason for reason in reasons.values()) == 4


def test_images_that_a_host_lacks_do_not_end_the_asking(server: Any, fetch: Any) -> None:
    urls = [server.serve(f"/{number}", _body(b"", 404)) for number in range(8)]
    _, reasons = fetch(*urls, concurrency=1)
    assert set(reasons.values()) == {"the server answers 404"}


def test_a_jpeg_of_several_pictures_is_a_jpeg(server: Any, fetch: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    first, second = (Image.new("RGB", (40, 40), colour) for colour in ("red", "blue"))
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    url = server.serve("/a", _body(buffer.getvalue()))
    assert fetch(url)[1] == {}
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".jpg"]


def test_a_host_that_dribbles_is_left_after_a_time_for_all_its_images(
    server: Any, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte comes well within the timeout, and no image ever does."""
    assert image_download._PATIENCE == 60, "seconds in all"
    monkeypatch.setattr(image_download, "_PATIENCE", 0.5)
    over = threading.Event()

    def dribble(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        with suppress(OSError):
            while not over.wait(0.02):
                handler.wfile.write(b"x")

    urls = [server.serve(f"/{number}", dribble) for number in range(40)]
    good = server.serve("/good", _body(_png()))
    try:
        files, reasons = fetch(*urls, good, retries=3, per_host=2, concurrency=2)
    finally:
        over.set()

    assert files.keys() <= {good}
    assert reasons.keys() >= set(urls)
    assert sum(server.asked[f"/{number}"] for number in range(40)) < 10, "most are not even asked for"
    assert any("took more than" in reason or "in a row" in reason for reason in reasons.values())
