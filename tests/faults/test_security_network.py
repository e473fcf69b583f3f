"""Addresses of images: whatever a catalogue or a server says, only the public web is asked."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import httpcore
import httpx
import pytest
from PIL import Image

from mmsc_cli.files.images import UnusableImageError
from mmsc_cli.files.settings import DownloadSettings
from mmsc_cli.files.web.image_download import download_images
from mmsc_cli.files.web.public_network import PrivateAddressError, PublicTransport
from mmsc_cli.infer.new_item import NewItem
from mmsc_cli.infer.new_items import read_images

PUBLIC = "93.184.216.34"
NAMES = {"shop.example": [PUBLIC], "intranet.example": ["10.0.0.1"], "both.example": [PUBLIC, "fd00::1"]}
SETTINGS = DownloadSettings(retries=0, allow_http=True)
Connected = list[tuple[str, int]]

PRIVATE = [
    "https://127.0.0.1/",
    "https://localhost/",
    "https://2130706433/",
    "https://169.254.169.254/latest/meta-data/",
    "https://192.168.0.1/",
    "https://[::1]/",
    "https://[fe80::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b:1::a00:1]/",
    "https://[2002:a00:1::]/",
    "https://intranet.example/",
    "https://both.example/",
]
OTHER = ["https://shop.example:22/", "https://shop.example:8443/", "file:///etc/passwd", "ftp://shop.example/"]


@pytest.fixture
def connected() -> Iterator[Connected]:
    """The addresses that were connected to; names of `.example` lead where NAMES says."""
    found: Connected = []

    async def resolve(host: str, port: int) -> list[str]:
        return NAMES.get(host) or [str(end[4][0]) for end in await _addresses(host, port)]

    class Backend(httpcore.AsyncMockBackend):
        async def connect_tcp(self, host: str, port: int, *rest: object) -> httpcore.AsyncNetworkStream:
            found.append((host, port))
            return await super().connect_tcp(host, port)

    with (
        patch("mmsc_cli.files.web.public_network._resolve", resolve),
        patch.object(httpcore, "AnyIOBackend", lambda: Backend(list(_answer))),
    ):
        yield found


async def _addresses(host: str, port: int) -> list[tuple[object, object, object, object, tuple[object, ...]]]:
    return list(await asyncio.get_running_loop().getaddrinfo(host, port))


_answer: list[bytes] = []


@pytest.fixture
def answers() -> Iterator[Callable[..., None]]:
    """Say what every server answers: a status line with further headers, and a body."""

    def arrange(head: bytes, body: bytes = b"") -> None:
        _answer[:] = [b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)]

    yield arrange
    _answer.clear()


@pytest.mark.parametrize("url", [*PRIVATE, *OTHER])
def test_an_address_that_is_not_the_public_webs_is_not_connected_to(
    url: str, connected: Connected, tmp_path: Path
) -> None:
    files, reasons = download_images([url], tmp_path, SETTINGS)

    assert (files, connected) == ({}, [])
    assert reasons[url]


@pytest.mark.parametrize("to", [*PRIVATE, *OTHER])
def test_nor_is_one_that_a_server_redirects_to(
    to: str, connected: Connected, answers: Callable[..., None], tmp_path: Path
) -> None:
    answers(b"302 Found\r\nLocation: " + to.encode())
    files, reasons = download_images(["https://shop.example/a.png"], tmp_path, SETTINGS)

    assert (files, connected) == ({}, [(PUBLIC, 443)])
    assert "not fetched" in reasons["https://shop.example/a.png"]


@pytest.mark.parametrize("url", [*PRIVATE, *OTHER])
def test_new_items_are_guarded_in_the_same_way(url: str, connected: Connected) -> None:
    (image,) = read_images([NewItem(image_url=url)], SETTINGS)

    assert isinstance(image, UnusableImageError)
    assert connected == []


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    connected: Connected, answers: Callable[..., None], tmp_path: Path
) -> None:
    """A name that is resolved again could lead elsewhere by then (DNS rebinding)."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    answers(b"200 OK", buffer.getvalue())
    files, _ = download_images(["https://shop.example/a.png"], tmp_path, SETTINGS)

    assert list(files) == ["https://shop.example/a.png"]
    assert connected == [(PUBLIC, 443)], "an address, not a name"


def test_every_connection_is_checked_anew(connected: Connected, answers: Callable[..., None]) -> None:
    answers(b"200 OK\r\nConnection: close")

    async def ask_twice() -> None:
        turns = iter(([PUBLIC], ["127.0.0.1"]))

        async def resolve(host: str, port: int) -> list[str]:
            return next(turns)

        with patch("mmsc_cli.files.web.public_network._resolve", resolve):
            transport = PublicTransport(allow_private=False, connections=1)
            async with httpx.AsyncClient(transport=transport) as client:
                await client.get("https://rebound.example/")
                with pytest.raises(PrivateAddressError, match=r"127\.0\.0\.1"):
                    await client.get("https://rebound.example/")

    asyncio.run(ask_twice())
    assert connected == [(PUBLIC, 443)]


def test_an_address_with_a_password_is_neither_fetched_nor_repeated(connected: Connected, tmp_path: Path) -> None:
    url = "https://user:pass-word@shop.example/a.png?signature=s3cret"
    _, reasons = download_images([url], tmp_path, SETTINGS)
    (image,) = read_images([NewItem(image_url=url)], SETTINGS)

    assert connected == []
    for said in (reasons[url], str(image)):
        assert "password" in said
        assert "shop.example/a.png" in said
        assert "pass-word" not in said
        assert "s3cret" not in said


def test_a_proxy_of_the_environment_is_not_used_for_images(
    connected: Connected, answers: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind one no address could be checked."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    answers(b"404 Not Found")
    download_images(["https://shop.example/a.png"], tmp_path, SETTINGS)

    assert connected == [(PUBLIC, 443)]
