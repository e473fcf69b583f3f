from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

import httpx
import pytest

from mmsc_cli.files.web.public_network import PrivateAddressError, PublicTransport, is_public


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
    ],
)
def test_all_others_are_not_whatever_they_are_wrapped_in(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def _get(url: str) -> None:
    async def run() -> None:
        transport = PublicTransport(allow_private=False, connections=1)
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get(url)

    asyncio.run(run())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "169.254.169.254"])
def test_no_spelling_of_a_private_address_is_connected_to(host: str) -> None:
    with pytest.raises((PrivateAddressError, httpx.TransportError, httpx.InvalidURL)) as caught:
        _get(f"http://{host}/")
    assert not isinstance(caught.value, httpx.TransportError) or "Connect" in str(caught.value)


def test_a_name_is_judged_by_every_address_it_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a public and to a private address is refused, whichever would be tried first."""

    async def resolve(self: Any, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    with pytest.raises(PrivateAddressError, match=r"shop\.example is 10\.0\.0\.1"):
        _get("http://shop.example/")
