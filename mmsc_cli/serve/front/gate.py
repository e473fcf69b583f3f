"""What every request passes: who asks, how long it may take, what is counted, logged and sent along."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmsc_cli.serve.front.metrics import Metrics
from mmsc_cli.serve.problems import problem, respond
from mmsc_cli.serve.settings import ServeSettings, is_loopback

_LOG = logging.getLogger(__name__)
# Answered without a key: what machines watch, and the page, which holds no data.
_OPEN = ("/health/", "/page/")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORT = "/report"
# The report has its styles in it, and no script; whoever wrote it cannot act as the page.
_POLICY_OF_REPORT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
_SENT_ALONG, _WITH_REPORT = (
    [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]
    for policy in (_POLICY, _POLICY_OF_REPORT)
)
# What changes something for others.
_WRITING = ("/v1/judgements", "/v1/stock")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


class Timed:
    """An application that answers in time, or not at all."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            TimeoutError: that takes too long.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        async with asyncio.timeout(self._seconds):
            await self._app(scope, receive, send)


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._key = settings.key.encode()
        self._is_local = settings.is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        # Paths are matched as they were sent, so that an id may hold a slash (%2F).
        scope["path"] = scope["raw_path"].decode("latin-1")
        status, size = 0, 0

        async def send_along(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += _WITH_REPORT if scope["path"] == REPORT else _SENT_ALONG
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            if refusal := self._refusal(scope):
                await refusal(scope, receive, send_along)
            else:
                await self._app(scope, receive, send_along)
        except TimeoutError:
            if not status:
                late = problem(503, f"no answer within {self._settings.limits.seconds:g} seconds")
                await respond(late, {"retry-after": "1"})(scope, receive, send_along)
        except Exception:
            _LOG.exception("a request failed; please report it")
            if not status:
                await respond(problem(500, "internal error"))(scope, receive, send_along)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.count(getattr(scope.get("route"), "path", "other"), status, seconds)
            if self._settings.log is not None:
                self._settings.log(*_line(scope, status, size, seconds))

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """The response that a request gets in place of an answer; None where it may pass."""
        headers = dict(scope["headers"])
        path = scope["path"]
        if path in _WRITING and self._from_elsewhere(headers):
            return respond(problem(403, "a page of another origin may not write here"))
        if self._key:
            if path == "/" or path.startswith(_OPEN):
                return None
            kind, _, token = headers.get(b"authorization", b"").partition(b" ")
            if kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._key):
                return None
            return respond(problem(401, "send the key: Authorization: Bearer KEY"), {"www-authenticate": "Bearer"})
        # A page elsewhere could give its own name the address of this machine, and read all answers.
        if self._is_local and not _is_loopback(headers.get(b"host", b"")):
            return respond(problem(421, "this server answers to localhost only"))
        return None

    def _from_elsewhere(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a browser asks for a page that neither this server sent nor `--cors` names."""
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin in self._settings.origins:
            return False
        if (site := headers.get(b"sec-fetch-site")) is not None:
            return site not in (b"same-origin", b"none")
        return bool(origin) and origin.partition("://")[2] != headers.get(b"host", b"").decode("latin-1")


@lru_cache(64)
def _is_loopback(header: bytes) -> bool:
    """Whether a request names this machine as its host, with or without a port."""
    host = header.decode("latin-1")
    return is_loopback(host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0])


def _line(scope: Scope, status: int, size: int, seconds: float) -> tuple[str, dict[str, Any]]:
    """Who asked for what, as a text and as fields; without the query, which may hold what nobody else should read."""
    client = scope.get("client") or ("-",)
    path = _UNPRINTABLE.sub("?", scope["path"][:400])
    fields = {"client": client[0], "method": scope["method"], "path": path, "status": status, "bytes": size}
    text = f"{client[0]} {scope['method']} {path} {status} {size} B {1000 * seconds:.1f} ms"
    return text, {**fields, "seconds": round(seconds, 6)}
