"""What goes wrong, as problem objects (RFC 9457)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from mmsc_cli.errors import InputError, MmscError, UnknownItemError

MEDIA_TYPE = "application/problem+json"
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")


class RefusedError(Exception):
    """A request that is answered by a problem."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.problem = problem(status, detail)
        self.headers = headers or {}


def problem(status: int, detail: str, kind: str | None = None, nearest: Sequence[str] = ()) -> dict[str, Any]:
    """Return a problem object; `kind` names it within `urn:mmsc:`."""
    whole: dict[str, Any] = {
        "type": f"urn:mmsc:{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return whole | ({"nearest": list(nearest)} if nearest else {})


def of_error(error: MmscError) -> dict[str, Any]:
    """Return the problem that an error of the library is to a client.

    What the client cannot change, such as a damaged workspace, is said without paths of this machine.
    """
    if isinstance(error, UnknownItemError):
        return problem(404, error.message, "unknown-item", error.nearest)
    if isinstance(error, InputError):
        text = f"{error.message}; {error.hint}" if error.hint else error.message
        return problem(422, _OPTION.sub(lambda match: match[1].replace("-", "_"), text), "invalid-request")
    return problem(503, "the workspace cannot answer this; the server's log says why", "workspace")


def respond(whole: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """Return the response that carries a problem."""
    return Response(orjson.dumps(whole), whole["status"], headers, MEDIA_TYPE)
