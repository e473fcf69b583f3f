"""The application: which path is answered by what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import unquote

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from mmsc_cli.errors import InputError, MmscError
from mmsc_cli.runtime.machine.cores import usable_cores
from mmsc_cli.serve.current import Current
from mmsc_cli.serve.front.gate import REPORT, Gate, Timed
from mmsc_cli.serve.front.metrics import Metrics
from mmsc_cli.serve.front.shortcut import Shortcut
from mmsc_cli.serve.judging import Desk
from mmsc_cli.serve.openapi import answers_of_item, body_of, item_path, json_response, query_of
from mmsc_cli.serve.problems import RefusedError, of_error, problem, respond
from mmsc_cli.serve.questions import (
    AnswersBody,
    Choosing,
    JudgementBody,
    Model,
    PairsBody,
    PairsQuery,
    SearchQuery,
    StockBody,
    describe,
    read_choosing,
    read_query,
)
from mmsc_cli.serve.settings import ServeSettings
from mmsc_cli.serve.stock import Stock
from mmsc_cli.tables.relations import Relation
from mmsc_cli.version import __version__

Result = TypeVar("Result")
_LOG = logging.getLogger(__name__)
_PAGE = {
    "page.css": "text/css; charset=utf-8",
    **dict.fromkeys(("page.js", "ask.js", "judge.js"), "text/javascript; charset=utf-8"),
    "icon.svg": "image/svg+xml",
}
_KEPT = {"cache-control": "private, no-cache"}


class Service:
    """What the paths share: the snapshot, the stock, and threads for what takes longer than a moment."""

    def __init__(self, settings: ServeSettings, current: Current, metrics: Metrics) -> None:
        self.settings = settings
        self.current = current
        self.metrics = metrics
        self.stock = Stock(settings.shared)
        self._threads = ThreadPoolExecutor(max(2, usable_cores()), thread_name_prefix="answer")
        self._waiting = 0

    async def in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in a thread.

        Raises:
            RefusedError: too many requests wait for one.
        """
        if self._waiting >= self.settings.limits.waiting:
            raise RefusedError(503, "too many requests are waiting", {"retry-after": "1"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))
        finally:
            self._waiting -= 1

    def stocked(self, choosing: Choosing) -> tuple[frozenset[str] | None, tuple[str, ...]]:
        """The ids in stock where they are asked for, and what the ETag says of them.

        Raises:
            RefusedError: nobody has said what is in stock.
        """
        if not choosing.in_stock:
            return None, ()
        held = self.stock.get()
        if held is None:
            raise RefusedError(409, "nobody has said what is in stock: PUT /v1/stock first")
        return held[0], (held[1],)

    async def body(self, request: Request, model: type[Model]) -> Model:
        """The body of a request.

        Raises:
            RefusedError: it is too large, or not JSON.
            InputError: it is not what it must be.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RefusedError(415, "send JSON, with the header Content-Type: application/json")
        most = self.settings.limits.body
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > most:
            raise RefusedError(413, f"a body has at most {most:,} bytes", {"connection": "close"})
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > most:
                raise RefusedError(413, f"a body has at most {most:,} bytes", {"connection": "close"})
        try:
            return model.model_validate_json(bytes(content))
        except ValidationError as error:
            raise InputError(describe(error)) from error


def build_app(settings: ServeSettings, current: Current) -> ASGIApp:
    """Build the application over an opened workspace."""
    service = Service(settings, current, Metrics())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        current.start()
        yield
        current.stop()

    app = FastAPI(
        title="mmsc",
        version=__version__,
        summary="Which items of a catalogue can replace one another, and which go together.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    _answer_errors(app)
    _add_answers(app, service)
    _add_items(app, service)
    _add_judging(app, service)
    _add_operations(app, service)
    _add_page(app, service)
    gated: ASGIApp = Gate(
        Shortcut(Timed(app, settings.limits.seconds), lambda: current.snapshot), settings, service.metrics
    )
    if settings.origins:
        gated = CORSMiddleware(
            gated, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["authorization", "content-type"]
        )
    return gated


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), 200, headers, "application/json")


def _unchanged(request: Request, tag: str) -> bool:
    """Whether the client has what it asks for already."""
    known = request.headers.get("if-none-match")
    return known is not None and (
        known.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in known.split(",")]
    )


def _id(request: Request) -> str:
    return unquote(request.path_params["item_id"])


def _answer_errors(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return respond(error.problem, error.headers)

    async def wrong(_: Request, error: Exception) -> Response:
        assert isinstance(error, MmscError)
        whole = of_error(error)
        if whole["status"] >= 500:
            _LOG.warning("%s", f"{error.message}; {error.hint}" if error.hint else error.message)
        return respond(whole)

    async def unknown_path(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = "there is no such path; see /openapi.json" if error.status_code == 404 else str(error.detail)
        return respond(problem(error.status_code, detail), dict(error.headers or {}))

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(MmscError, wrong)
    app.add_exception_handler(HTTPException, unknown_path)


def _add_answers(app: FastAPI, service: Service) -> None:
    async def answer(request: Request, relation: Relation) -> Response:
        snapshot = service.current.snapshot
        choosing = read_choosing(request.scope["query_string"])
        stock, told = service.stocked(choosing)
        tag = snapshot.tag(*told)
        if _unchanged(request, tag):
            return Response(None, 304, {"etag": tag, **_KEPT})
        (outcome,) = await service.in_thread(snapshot.answers, [_id(request)], relation, choosing, stock, False)
        if isinstance(outcome, MmscError):
            raise outcome
        return _json(outcome, {"etag": tag, **_KEPT})

    @app.get("/v1/items/{item_id}/substitutes", **answers_of_item("The items that can replace an item"))
    async def substitutes(request: Request) -> Response:
        return await answer(request, "substitute")

    @app.get("/v1/items/{item_id}/complements", **answers_of_item("The items that go with an item"))
    async def complements(request: Request) -> Response:
        return await answer(request, "complement")

    @app.post("/v1/answers", **body_of(AnswersBody, "The answers to many questions", "AnswersOfMany"))
    async def answers(request: Request) -> Response:
        body = await service.body(request, AnswersBody)
        for question in body.questions:
            if [question.id, question.new, question.basket].count(None) != 2:
                raise InputError("a question has either an id, a new item or a basket")
            if question.basket is not None and body.relation == "substitute":
                raise InputError("nothing replaces several items at once: a basket has complements alone")
        snapshot = service.current.snapshot
        stock, told = service.stocked(body)
        outcomes = await service.in_thread(snapshot.many, body, stock)
        return _json({"outcomes": outcomes}, {"etag": snapshot.tag(*told)})

    @app.post("/v1/pairs", **body_of(PairsBody, "The probabilities of pairs", "Opinions"))
    async def pairs(request: Request) -> Response:
        body = await service.body(request, PairsBody)
        snapshot = service.current.snapshot
        opinions = await service.in_thread(snapshot.judge, body.pairs, body.explain)
        return _json({"opinions": opinions}, {"etag": snapshot.tag()})

    @app.put("/v1/stock", **body_of(StockBody, "Say which items are in stock", "StockKept"))
    async def put_stock(request: Request) -> Response:
        body = await service.body(request, StockBody)
        return _json({"in_stock": await service.in_thread(service.stock.put, body.ids)})


def _add_items(app: FastAPI, service: Service) -> None:
    @app.get("/v1/items/{item_id}", **item_path("An item: its columns, and the pairs known of it", "Item"))
    async def item(request: Request) -> Response:
        snapshot = service.current.snapshot
        if _unchanged(request, snapshot.tag()):
            return Response(None, 304, {"etag": snapshot.tag(), **_KEPT})
        shown = await service.in_thread(snapshot.item, _id(request))
        return _json(shown, {"etag": snapshot.tag(), **_KEPT})

    @app.get("/v1/items/{item_id}/picture", **item_path("The picture of an item", None))
    async def picture(request: Request) -> Response:
        snapshot = service.current.snapshot
        if _unchanged(request, snapshot.tag()):
            return Response(None, 304, {"etag": snapshot.tag(), **_KEPT})
        found = await service.in_thread(snapshot.picture, _id(request))
        if found is None:
            raise RefusedError(404, "the workspace has no picture of this item")
        return Response(found[0], 200, {"etag": snapshot.tag(), **_KEPT}, found[1])

    @app.get("/v1/search", **query_of(SearchQuery, "Find items by words of their titles, or by ids", "Found"))
    async def search(request: Request) -> Response:
        query = read_query(SearchQuery, request.scope["query_string"])
        return _json({"items": await service.in_thread(service.current.snapshot.find, query.q, query.k)})


def _add_judging(app: FastAPI, service: Service) -> None:
    desk = Desk(service.settings.root, service.settings.takes_judgements)

    @app.get("/v1/judge", **query_of(PairsQuery, "Pairs for a person to judge", "PairsToJudge"))
    async def pairs_to_judge(request: Request) -> Response:
        query = read_query(PairsQuery, request.scope["query_string"])
        return _json(await service.in_thread(desk.pairs, query), {"cache-control": "no-store"})

    @app.post("/v1/judgements", **body_of(JudgementBody, "Keep what a person says of a pair", "JudgementKept"))
    async def keep(request: Request) -> Response:
        body = await service.body(request, JudgementBody)
        for item_id in (body.a, body.b):
            service.current.snapshot.recommender.index.row(item_id)
        if body.a == body.b:
            raise InputError("a pair has two items")
        await service.in_thread(desk.keep, body)
        return _json({"kept": True})


def _add_operations(app: FastAPI, service: Service) -> None:
    current = service.current

    @app.get("/health/live", **json_response("Whether the process answers", "Health"))
    async def live() -> Response:
        return _json({"status": "ok"})

    @app.get("/health/ready", **json_response("Whether it serves, and whether the newest index", "Health"))
    async def ready() -> Response:
        whole = {"status": "ok", "index": current.snapshot.digest}
        return _json(whole | ({"refused": current.refused} if current.refused else {}))

    @app.get(
        "/version", **json_response("What is served: versions, when it was trained, figures, data checks", "Version")
    )
    async def version() -> Response:
        return _json(await service.in_thread(current.snapshot.about))

    @app.get("/metrics", **json_response("Metrics for Prometheus", None))
    async def metrics() -> Response:
        text = service.metrics.render(refused=current.refused is not None, opened=current.opened)
        return Response(text, 200, None, "text/plain; version=0.0.4")


def _add_page(app: FastAPI, service: Service) -> None:
    folder = files("mmsc_cli.serve") / "page"
    kept = {"cache-control": "no-cache"}
    index = (folder / "page.html").read_bytes()
    parts = {name: (folder / name).read_bytes() for name in _PAGE}

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(index, 200, kept, "text/html; charset=utf-8")

    @app.get(REPORT, include_in_schema=False)
    async def report() -> Response:
        content = await service.in_thread(service.current.snapshot.report)
        if content is None:
            raise RefusedError(404, "there is no report of this index: run `mmsc evaluate`")
        return Response(content, 200, kept, "text/html; charset=utf-8")

    @app.get("/page/{name}", include_in_schema=False)
    async def part(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in parts:
            raise RefusedError(404, "there is no such path; see /openapi.json")
        return Response(parts[name], 200, kept, _PAGE[name])
