"""Asking an OpenAI-compatible server: one token per question, many questions at once, failures counted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from types import TracebackType
from typing import Any, TypeVar

import httpx

from mmsc_cli.errors import GateError, InputError, MmscError, UnreachableError
from mmsc_cli.label.answer import Answer, BadReplyError, NoLogprobsError, read_choice, read_logprobs
from mmsc_cli.label.prompt import LETTERS, Question
from mmsc_cli.recipe.settings import LabelSettings

TOP_LOGPROBS = 20  # the most that OpenAI's API and vLLM's default allow
LONGEST_WAIT = 30.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
Key = TypeVar("Key", bound=Hashable)
_log = logging.getLogger("mmsc_cli")


class RetryError(Exception):
    """A failure that may pass; `wait` is how many seconds the server asked for, if it did."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class LabelClient:
    """Asks questions of one or more servers, in turn. An asynchronous context manager.

    `retried` and `failed` count further tries and questions given up. `stopped` is the error that ended the
    work early: a refusal that no retry can mend, or `settings.max_failures` questions given up.
    """

    def __init__(self, endpoints: Sequence[str], model: str, settings: LabelSettings) -> None:
        """`endpoints`: base URLs, with or without `/v1`; `model`: the name the servers know it by.

        The key comes from MMSC_API_KEY or OPENAI_API_KEY, and goes into the request header alone.

        Raises:
            InputError: an endpoint is not an http(s) URL.
        """
        self.model = model
        self.settings = settings
        self.retried = 0
        self.failed = 0
        self.answered = 0
        self.stopped: MmscError | None = None
        self._urls = [chat_url(endpoint) for endpoint in endpoints]
        self._without_logprobs: set[httpx.URL] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> LabelClient:
        key = os.environ.get("MMSC_API_KEY") or os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=self.settings.concurrency)
        servers = []
        for url in self._urls:
            # A proxy from the environment is for the world outside, never for this machine.
            client = httpx.AsyncClient(
                headers=headers,
                timeout=self.settings.timeout,
                limits=limits,
                trust_env=url.host not in LOOPBACK,
            )
            servers.append((await self._stack.enter_async_context(client), url))
        self._servers = cycle(servers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def ask_all(
        self, questions: Mapping[Key, Question], answers: dict[Key, Answer], progressed: Callable[[], None]
    ) -> None:
        """Ask all questions in their order, `settings.concurrency` at a time, until done or `stopped`.

        Puts each answer into `answers` as it comes, so that an interrupted caller has what there is; a
        question given up has none. Calls `progressed` after each.
        """
        pending = iter(questions.items())

        async def work() -> None:
            for key, question in pending:
                if self.stopped:
                    return
                answer = await self._ask(question)
                if answer:
                    answers[key] = answer
                progressed()

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.settings.concurrency, len(questions))):
                group.create_task(work())

    async def _ask(self, question: Question) -> Answer | None:
        for attempt in range(self.settings.retries + 1):
            client, url = next(self._servers)
            try:
                answer = await self._try(client, url, question)
            except RetryError as error:
                last = error
            except MmscError as error:
                self.stopped = self.stopped or error
                return None
            else:
                self.answered += 1
                return answer
            if self.stopped:
                return None
            if attempt < self.settings.retries:
                self.retried += 1
                wait = self.settings.backoff * 2**attempt if last.wait is None else last.wait
                await asyncio.sleep(min(wait, LONGEST_WAIT))
        self.failed += 1
        _log.info("a question was given up: %s", last)
        if self.failed >= self.settings.max_failures and not self.stopped:
            self.stopped = self._too_many(str(last))
        return None

    def _too_many(self, last: str) -> MmscError:
        said = f"{self.failed} questions were given up, the last one because: {last}"
        if not self.answered:
            return UnreachableError(
                f"no usable answer from {self._named()}: {said}", hint="check --endpoint and --model"
            )
        return GateError(said, hint="see to the server, then run the same command again: what is done stays done")

    async def _try(self, client: httpx.AsyncClient, url: httpx.URL, question: Question) -> Answer:
        try:
            if url not in self._without_logprobs:
                try:
                    return read_logprobs(await self._post(client, url, question, scored=True))
                except NoLogprobsError:
                    _log.warning("%s gives no log-probabilities: each order counts as one vote", shown_url(url))
                    self._without_logprobs.add(url)
            return read_choice(await self._post(client, url, question, scored=False))
        except BadReplyError as error:
            raise RetryError(str(error)) from error

    async def _post(self, client: httpx.AsyncClient, url: httpx.URL, question: Question, *, scored: bool) -> object:
        body: dict[str, Any] = {"model": self.model, "messages": question.messages, "temperature": 0}
        if scored:
            body |= {"max_tokens": 1, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
        else:
            body |= {"max_tokens": 4, "structured_outputs": {"choice": LETTERS}}
        try:
            response = await client.post(url, json=body)
        except httpx.RequestError as error:
            raise RetryError(f"{shown_url(url)}: {type(error).__name__} {error}".strip()) from error
        status = response.status_code
        if status in (408, 409, 425, 429) or status >= 500:
            raise RetryError(f"{shown_url(url)} answers {status}", wait=_retry_after(response))
        if status == httpx.codes.BAD_REQUEST and scored and "logprob" in response.text:
            raise NoLogprobsError
        if not response.is_success:
            raise _refusal(url, response)
        try:
            reply: object = response.json()
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RetryError(f"{shown_url(url)}: the reply is not JSON, or half of it") from error
        return reply

    def _named(self) -> str:
        return ", ".join(map(shown_url, self._urls))


def chat_url(endpoint: str) -> httpx.URL:
    """The chat address of a server given by its base URL (`http://host:8000`, or with `/v1`).

    Raises:
        InputError: it is not an http(s) URL.
    """
    example = "for example --endpoint http://127.0.0.1:8000/v1"
    try:
        url = httpx.URL(endpoint.rstrip("/"))
    except httpx.InvalidURL as error:
        raise InputError(f"--endpoint {endpoint!r}: {error}", hint=example) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise InputError(f"--endpoint {endpoint!r}: not an http(s) URL", hint=example)
    path = url.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return url.copy_with(path=f"{path}/chat/completions")


def shown_url(url: httpx.URL) -> str:
    """The address without a password that may stand in it."""
    return str(url.copy_with(username=None, password=None, query=None))


def _refusal(url: httpx.URL, response: httpx.Response) -> MmscError:
    said = "".join(char if char.isprintable() else " " for char in response.text[:200]).strip()
    hints = {
        401: "set MMSC_API_KEY to a key the server knows",
        403: "set MMSC_API_KEY to a key the server knows",
        404: "check the path of --endpoint, and that --model is a name the server lists under /v1/models",
    }
    status = response.status_code
    return UnreachableError(f"{shown_url(url)} answers {status}: {said}", hint=hints.get(status, "check --model"))


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None
