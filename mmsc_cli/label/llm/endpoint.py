"""One OpenAI-compatible server: how it is asked, and how its refusals are understood."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from mmsc_cli.errors import InputError, MmscError, UnreachableError
from mmsc_cli.label.llm.prompt import LETTERS, Message, Question
from mmsc_cli.label.llm.reply import BadReplyError, NoLogprobsError, Reply, read_choice, read_logprobs, read_text
from mmsc_cli.runtime.redaction import API_KEY_VARIABLES, api_key

TOP_LOGPROBS = 20  # the most that OpenAI's API and vLLM's default allow
FEW_LOGPROBS = 5  # the most that many others allow
THINKING_TOKENS = 2_000  # a model that is limited by `max_completion_tokens` alone may think first
LARGEST_REPLY = 2**20  # bytes; one with 20 log-probabilities has some thousand
MOST_TOKENS = 10**9  # more than a question and its answer can have
GREETING_SECONDS = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MAY_PASS = (408, 409, 425, 429)
_TOO_LONG = re.compile(r"context length|too long|maximum.{0,30}(tokens|length)", re.IGNORECASE)
# What a reply of another shape than expected raises.
_UNEXPECTED = (ValueError, RecursionError, TypeError, KeyError, AttributeError)
_LOG = logging.getLogger(__name__)


class RetryError(Exception):
    """A failure that may pass; `wait` is the seconds that the server asked for, if it did."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class UnanswerableError(Exception):
    """A question that this server will never answer, such as one too long for the model."""


class Endpoint:
    """A server and what has been learnt of it. An asynchronous context manager.

    Attributes:
        reached: whether it ever answered anything.
        tokens: number of tokens of the prompts and answers that it reported.
    """

    def __init__(self, endpoint: str, model: str, timeout: float, key: str | None = None) -> None:
        """Prepare to ask.

        Args:
            endpoint: base URL, with or without `/v1`.
            model: the name the server knows the model by.
            timeout: seconds one answer may take.
            key: goes into the request header alone; None: the one in MMSC_API_KEY or OPENAI_API_KEY.

        Raises:
            InputError: the endpoint is not an http(s) URL, or the key in the environment cannot be one.
        """
        self.url = base_url(endpoint)
        self._key = key or api_key()
        self.reached = False
        self.tokens = 0
        self._model = model
        self._timeout = timeout
        self._label_tokens: list[int] = []
        self._ways = list(_WAYS)
        self._common: dict[str, Any] = {"temperature": 0}
        self._thinks = False
        self._announced: _Way | None = None

    async def __aenter__(self) -> Endpoint:
        # A proxy from the environment is for the world outside, never for this machine.
        outside = httpx.URL(self.url).host not in LOOPBACK
        self._client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self._key,
            timeout=self._timeout,
            max_retries=0,  # the next try may go to another server
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultAsyncHttpxClient(trust_env=outside, event_hooks={"response": [_bound]}),
        )
        await self._learn_about_vllm()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, question: Question) -> Reply:
        """Ask a question.

        Raises:
            RetryError: it may work another time.
            UnanswerableError: it never will, but other questions may.
            MmscError: nothing will, with this server and model.
        """
        while True:
            way = self._ways[0]
            try:
                reply = await self._post(question.messages, way.options | self._logprob_tokens(way), way.tokens)
                answer = way.read(reply)
            except (NoLogprobsError, _LackingError) as error:
                if self._ways[0] is way:  # else another question found out first
                    # A reply without log-probabilities: to ask for fewer of them is no use.
                    none = isinstance(error, NoLogprobsError)
                    del self._ways[: sum("logprobs" in other.options for other in self._ways) if none else 1]
            except BadReplyError as error:
                raise RetryError(f"{self.url}: {error}") from error
            else:
                if way.instead and way is not self._announced:
                    self._announced = way
                    _LOG.warning("%s gives %s", self.url, way.instead)
                return answer

    async def ask_for_text(self, messages: Sequence[Message], tokens: int) -> str:
        """Ask for a text of at most so many tokens; errors as of `ask`."""
        try:
            return read_text(await self._post(messages, {}, tokens))
        except BadReplyError as error:
            raise RetryError(f"{self.url}: {error}") from error

    def _logprob_tokens(self, way: _Way) -> dict[str, Any]:
        known = self._label_tokens and "logprobs" in way.options
        return {"logprob_token_ids": self._label_tokens} if known else {}

    async def _learn_about_vllm(self) -> None:
        """Find out whether this is vLLM, which can report the probability of each letter, however small.

        Other servers report those of the likeliest tokens alone. vLLM also lets us switch the model's thinking off.
        """
        patient = self._client.with_options(timeout=min(GREETING_SECONDS, self._timeout))
        with suppress(openai.OpenAIError, httpx.HTTPError, _UnreadableReplyError, *_UNEXPECTED):
            models = json.loads((await patient.models.with_raw_response.list()).content)
            if not any(model.get("owned_by") == "vllm" for model in models["data"]):
                return
            self._common["chat_template_kwargs"] = {"enable_thinking": False}
            tokenizer = f"{self.url.removesuffix('/v1')}/tokenize"
            letters: set[int] = set()
            for text in (*LETTERS, *(f" {letter}" for letter in LETTERS)):
                body = {"model": self._model, "prompt": text, "add_special_tokens": False}
                tokens = (await patient.post(tokenizer, cast_to=dict[str, Any], body=body))["tokens"]
                letters |= set(tokens) if len(tokens) == 1 else set()
            self._label_tokens = sorted(letters)

    async def _post(self, messages: Sequence[Message], options: Mapping[str, Any], tokens: int) -> object:
        """Send a request and return the reply's JSON; again where the server wants an option by another name."""
        while True:
            limit = {"max_tokens": tokens}
            if self._thinks:
                limit = {"max_completion_tokens": tokens if "logprobs" in options else tokens + THINKING_TOKENS}
            body = {**self._common, **options, **limit}
            try:
                response = await self._client.chat.completions.with_raw_response.create(
                    model=self._model,
                    messages=list(messages),  # type: ignore[arg-type]
                    extra_body=body,
                )
            except openai.APIStatusError as error:
                self.reached = True
                if not self._adapts(error, body):
                    raise self._meaning(error, body) from error
            except _UnreadableReplyError as error:
                self.reached = True
                raise RetryError(f"{self.url}: {error}") from error
            except openai.APIConnectionError as error:
                cause = error.__cause__ or error
                # By name: which HTTP library they come from is the `openai` package's affair.
                self.reached |= type(cause).__name__ not in ("ConnectError", "ConnectTimeout")
                raise RetryError(f"{self.url}: {type(cause).__name__} {cause}".strip()) from error
            else:
                return self._content(response.content)

    def _content(self, content: bytes) -> object:
        self.reached = True
        try:
            reply: object = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RetryError(f"{self.url}: the reply is not JSON, or half of it") from error
        usage = reply.get("usage") if isinstance(reply, dict) else None
        billed = usage.get("total_tokens") if isinstance(usage, dict) else None
        self.tokens += billed if isinstance(billed, int) and 0 <= billed < MOST_TOKENS else 0
        return reply

    def _adapts(self, error: openai.APIStatusError, body: Mapping[str, Any]) -> bool:
        """Whether the server refused an option that is not needed; it is not sent again."""
        if error.status_code not in (400, 422):
            return False
        text = error.response.text
        if "max_tokens" in body and "max_completion_tokens" in text:
            self._thinks = True
            return True
        refused = [name for name in ("temperature", "chat_template_kwargs") if name in body and name in text]
        for name in refused:
            self._common.pop(name, None)
        return bool(refused)

    def _meaning(self, error: openai.APIStatusError, body: Mapping[str, Any]) -> Exception:
        status, words = error.status_code, _printable(error.response.text)
        if status == 402 or "insufficient_quota" in words:
            return UnreachableError(
                f"{self.url} answers {status}: {words}",
                hint="the quota is used up: renew it, then run the same command again; finished answers are kept",
            )
        if status in _MAY_PASS or status >= 500:
            return RetryError(f"{self.url} answers {status}", wait=_retry_after(error.response.headers))
        if status in (400, 422):
            if "logprobs" in body and "logprob" in words:
                return _LackingError()
            if "structured_outputs" in body and "structured_outputs" in words:
                return _LackingError()
        if status in (400, 413, 422) and _TOO_LONG.search(words):
            return UnanswerableError(f"{self.url} answers {status}: {words}")
        return self._refusal(status, words)

    def _refusal(self, status: int, words: str) -> MmscError:
        key = f"set {API_KEY_VARIABLES[0]} to a key the server knows"
        hints = {
            401: key,
            403: key,
            404: "check the path of --endpoint, and that --model is a name the server lists under /v1/models",
        }
        return UnreachableError(f"{self.url} answers {status}: {words}", hint=hints.get(status, "check --model"))


class _LackingError(Exception):
    """The server refuses what a way of asking needs."""


@dataclass(frozen=True)
class _Way:
    """What is asked for beside the question's text, how the reply is read, and what it gives where better ways fail."""

    options: dict[str, Any]
    tokens: int
    read: Callable[[object], Reply]
    instead: str = ""


# The best first; a server that refuses one is asked the next.
_WAYS = (
    _Way({"logprobs": True, "top_logprobs": TOP_LOGPROBS}, 1, read_logprobs),
    _Way(
        {"logprobs": True, "top_logprobs": FEW_LOGPROBS},
        1,
        read_logprobs,
        f"{FEW_LOGPROBS} log-probabilities: an option that is not among the likeliest tokens counts as 0",
    ),
    _Way(
        {"structured_outputs": {"choice": LETTERS}},
        4,
        read_choice,
        "no log-probabilities: each order counts as one vote",
    ),
    _Way({}, 4, read_choice, "no log-probabilities and no structured output: answers are read as text"),
)


class _UnreadableReplyError(Exception):
    """A reply that is too large, or may be."""


class _BoundedStream:
    """The body of a reply, up to LARGEST_REPLY bytes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > LARGEST_REPLY:
                raise _UnreadableReplyError(f"the reply has more than {LARGEST_REPLY:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: Any) -> None:
    """Bound the body of a response before it is read; unpacked it could be a thousand times as large."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _UnreadableReplyError("the reply is compressed, which was not asked for")
    # The `openai` package chooses the HTTP library, which wants a stream of its own type.
    base = type(response.stream).__mro__[1]
    response.stream = type("BoundedStream", (_BoundedStream, base), {})(response.stream)


def base_url(endpoint: str) -> str:
    """The base URL of a server given as `http://host:8000`, with `/v1`, or with the whole address of its chat.

    Raises:
        InputError: it is not an http(s) URL, or holds a key.
    """
    example = "for example --endpoint http://127.0.0.1:8000/v1"
    try:
        url = httpx.URL(endpoint.rstrip("/"))
    except httpx.InvalidURL as error:
        raise InputError(f"--endpoint: {error}", hint=example) from error
    if url.userinfo or url.query:
        raise InputError(
            f"--endpoint {url.copy_with(userinfo=None, query=None)}: with a password or a query in it, which others "
            "would see on the command line",
            hint=f"put the key into the environment variable {API_KEY_VARIABLES[0]}",
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise InputError(f"--endpoint {endpoint!r}: not an http(s) URL", hint=example)
    path = url.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return str(url.copy_with(path=path))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:300]).strip()


def _retry_after(headers: Any) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None
