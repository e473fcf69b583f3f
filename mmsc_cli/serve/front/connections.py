"""Connections of clients that are slow, silent or too many: none of them keeps the others waiting."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mmsc_cli.serve.settings import Limits

LIMITS = Limits()
# Bytes of a request line and headers.
_LONGEST_HEAD = 64 * 2**10
# Files that a process has open beside its connections.
_OTHER_FILES = 200


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which knows since when a client owes the rest of its request."""

    asking_since: float | None = None
    stalled: tuple[int, float] | None = None
    _owed: int = 0
    _in_head: bool = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; where there are too many, the one that has kept us waiting longest goes."""
        super().connection_made(transport)
        self.asking_since = time.monotonic()
        if len(self.connections) > _most_connections():
            waiting: list[Any] = [one for one in self.connections if getattr(one, "asking_since", None) is not None]
            min(waiting, key=lambda one: one.asking_since).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head without end ends the connection."""
        self._owed += len(data)
        super().data_received(data)
        if self._in_head and self._owed > _LONGEST_HEAD:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.asking_since, self._in_head = time.monotonic(), True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin its body."""
        self._owed, self._in_head = 0, False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request."""
        self.asking_since, self._owed = None, 0
        super().on_message_complete()


def drop_slow(connections: Iterable[Any]) -> None:
    """End connections whose clients have not sent their request, or not taken what was sent, for too long."""
    now = time.monotonic()
    for one in list(connections):
        since = one.asking_since
        left = one.transport.get_write_buffer_size() if not one.transport.is_closing() else 0
        if left and one.stalled and one.stalled[0] == left:
            since = min(since or now, one.stalled[1])
        else:
            one.stalled = (left, now) if left else None
        if since is not None and now - since > LIMITS.sending:
            one.transport.abort()


def raise_file_limit() -> None:
    """Let this process open as many files as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2**20) if hard > 0 else 2**16, hard))


def _most_connections() -> int:
    return min(LIMITS.connections, max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES))
