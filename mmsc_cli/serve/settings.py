"""How a server runs: where it listens, who may ask, and the limits of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from mmsc_cli.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What a request may ask for.

    Attributes:
        answers: the largest `k`.
        questions: questions of a batch.
        body: bytes of a request's body.
        seconds: until a request must have an answer.
        sending: seconds until a client has sent its request, and until it takes what was sent to it.
        waiting: requests that wait for a thread.
        connections: connections open at once.
    """

    answers: int = 1_000
    questions: int = 1_000
    body: int = 4 * 2**20
    seconds: float = 30.0
    sending: float = 15.0
    waiting: int = 256
    connections: int = 12_000


@dataclass(frozen=True)
class ServeSettings:
    """Settings of a server.

    Attributes:
        root: the workspace.
        host: the address to listen on.
        port: the port; 0 for any free one.
        workers: the number of processes.
        key: what a client must send as bearer token; empty where everybody may ask.
        origins: the web origins whose pages may ask (CORS).
        shared: a folder in which several processes share what they are told; None for a single one.
        rules: a file of rules of the shop; None for those of the recipe.
        log: writes what was asked, in a line of printable ASCII and as fields; None: nothing does.
        limits: the limits of a request.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    key: str = ""
    origins: tuple[str, ...] = ()
    shared: Path | None = None
    rules: Path | None = None
    log: Callable[[str, Mapping[str, Any]], None] | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @property
    def takes_judgements(self) -> bool:
        """Whether those who may ask are known well enough to judge: on this machine, or by the key."""
        return self.is_local or bool(self.key)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by name or by address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_access(host: str, key: str, no_auth: bool) -> None:
    """Refuse to let other machines in unless they need a key, or the user said that they need none.

    Raises:
        InputError: other machines could ask without a key.
    """
    if key and no_auth:
        raise InputError("MMSC_API_KEY is set, and --no-auth says that no key is needed", hint="leave one of them out")
    if not (key or no_auth or is_loopback(host)):
        raise InputError(
            f"--host {host} lets other machines ask, and no key is set",
            hint="set MMSC_API_KEY to a long random text, or add --no-auth to let everybody ask",
        )
    if key and not (key.isascii() and key.isprintable()):
        raise InputError("MMSC_API_KEY holds a character that no header can carry", hint="use letters and digits")
