"""What is asked most, the answers to one item, on the shortest way: before the framework looks for a path."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

from mmsc_cli.errors import MmscError
from mmsc_cli.serve.snapshot import Snapshot
from mmsc_cli.tables.relations import RELATIONS, Relation

# What the framework calls them, for the metrics.
_ROUTES = {relation: SimpleNamespace(path=f"/v1/items/{{item_id}}/{relation}s") for relation in RELATIONS}
_PATH = re.compile(r"/v1/items/([^/]+)/(substitute|complement)s")


class Shortcut:
    """Answers about single items that take less than a millisecond; all other requests go on to the application.

    So does whatever is wrong with a request, so that problems are told in one place.
    """

    def __init__(self, app: ASGIApp, snapshot: Callable[[], Snapshot]) -> None:
        self._app = app
        self._snapshot = snapshot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        found = self._answer(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        tag, content = found
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
            (b"etag", tag.encode()),
            (b"cache-control", b"private, no-cache"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, scope: Scope) -> tuple[str, bytes] | None:
        """The ETag and the JSON of the answers; None where that takes longer, or anything is unusual."""
        asked = _PATH.fullmatch(scope["path"])
        if asked is None or any(name == b"if-none-match" for name, _ in scope["headers"]):
            return None
        relation: Relation = "substitute" if asked[2] == "substitute" else "complement"
        snapshot = self._snapshot()
        try:
            content = snapshot.answers_at_once(unquote(asked[1]), relation, scope["query_string"])
        except MmscError:
            return None
        scope["route"] = _ROUTES[relation]
        return None if content is None else (snapshot.tag(), content)
