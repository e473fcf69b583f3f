"""One OpenAI-compatible server: how it is asked, and how its refusals are understood."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from mmsc_cli.errors import InputError, MmscError, UnreachableError
from mmsc_cli.label.llm.prompt import LETTERS, Question
from mmsc_cli.label.llm.reply import Answer, BadReplyError, NoLogprobsError, read_choice, read_logprobs
from mmsc_cli.runtime.redaction import API_KEY_VARIABLES, api_key

TOP_LOGPROBS = 20  # the most that OpenAI's API and vLLM's default allow
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

    async def __aenter__(self) -> Endpoint:
        # A proxy from the environment is for the world outside, never for this machine.
        outside = httpx.URL(self.url).host not in LOOPBACK
        self._client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self._key,
            timeout=self._timeout,
            max_retries=0,  # the next try may go to another server
            http_client=openai.DefaultAsyncHttpxClient(trust_env=outside),
        )
        await self._learn_label_tokens()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, question: Question) -> Answer:
        """Put a question.

        Raises:
            RetryError: it may work another time.
            UnanswerableError: it never will, but other questions may.
            MmscError: nothing will, with this server and model.
        """
        while True:
            way = self._ways[0]
            extra = dict(way.extra)
            if self._label_tokens and "logprobs" in extra:
                extra["logprob_token_ids"] = self._label_tokens
            try:
                return way.read(await self._post(question, extra))
            except (NoLogprobsError, _NoChoiceError):
                if self._ways[0] is way:  # else another question found out first
                    _LOG.warning("%s gives %s", self.url, way.lacking)
                    del self._ways[0]
            except BadReplyError as error:
                raise RetryError(f"{self.url}: {error}") from error

    async def _learn_label_tokens(self) -> None:
        """Ask vLLM for the tokens of the letters: it can report the probability of each, however small.

        Other servers report those of the likeliest tokens alone, and are not asked.
        """
        patient = self._client.with_options(timeout=min(GREETING_SECONDS, self._timeout))
        with suppress(openai.OpenAIError, httpx.HTTPError, *_UNEXPECTED):
            models = json.loads((await patient.models.with_raw_response.list()).content)
            if not any(model.get("owned_by") == "vllm" for model in models["data"]):
                return
            tokenizer = f"{self.url.removesuffix('/v1')}/tokenize"
            letters: set[int] = set()
            for text in (*LETTERS, *(f" {letter}" for letter in LETTERS)):
                body = {"model": self._model, "prompt": text, "add_special_tokens": False}
                tokens = (await patient.post(tokenizer, cast_to=dict[str, Any], body=body))["tokens"]
                letters |= set(tokens) if len(tokens) == 1 else set()
            self._label_tokens = sorted(letters)

    async def _post(self, question: Question, extra: dict[str, Any]) -> object:
        try:
            response = await self._client.chat.completions.with_raw_response.create(
                model=self._model,
                messages=question.messages,  # type: ignore[arg-type]
                temperature=0,
                extra_body=extra,
            )
        except openai.APIStatusError as error:
            self.reached = True
            raise self._meaning(error, extra) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            # By name: which HTTP library they come from is the `openai` package's affair.
            self.reached |= type(cause).__name__ not in ("ConnectError", "ConnectTimeout")
            raise RetryError(f"{self.url}: {type(cause).__name__} {cause}".strip()) from error
        self.reached = True
        try:
            reply: object = json.loads(response.content)
        except (ValueError, RecursionError) as error:
            raise RetryError(f"{self.url}: the reply is not JSON, or half of it") from error
        usage = reply.get("usage") if isinstance(reply, dict) else None
        billed = usage.get("total_tokens") if isinstance(usage, dict) else None
        self.tokens += billed if isinstance(billed, int) and 0 <= billed < MOST_TOKENS else 0
        return reply

    def _meaning(self, error: openai.APIStatusError, extra: dict[str, Any]) -> Exception:
        status, said = error.status_code, _printable(error.response.text)
        if status in _MAY_PASS or status >= 500:
            return RetryError(f"{self.url} answers {status}", wait=_retry_after(error.response.headers))
        if status in (400, 422):
            if "logprobs" in extra and "logprob" in said:
                return NoLogprobsError()
            if "structured_outputs" in extra and "structured_outputs" in said:
                return _NoChoiceError()
        if status in (400, 413, 422) and _TOO_LONG.search(said):
            return UnanswerableError(f"{self.url} answers {status}: {said}")
        return self._refusal(status, said)

    def _refusal(self, status: int, said: str) -> MmscError:
        key = f"set {API_KEY_VARIABLES[0]} to a key the server knows"
        hints = {
            401: key,
            403: key,
            404: "check the path of --endpoint, and that --model is a name the server lists under /v1/models",
        }
        return UnreachableError(f"{self.url} answers {status}: {said}", hint=hints.get(status, "check --model"))


class _NoChoiceError(Exception):
    """The server does not know vLLM's structured outputs."""


@dataclass(frozen=True)
class _Way:
    """What is asked for beside the question's text, how the reply is read, and what a server without it lacks."""

    extra: Mapping[str, Any]
    read: Callable[[object], Answer]
    lacking: str


# The best first; a server that refuses one is asked the next.
_WAYS = (
    _Way(
        {"max_tokens": 1, "logprobs": True, "top_logprobs": TOP_LOGPROBS},
        read_logprobs,
        "no log-probabilities: each order counts as one vote",
    ),
    _Way(
        {"max_tokens": 4, "structured_outputs": {"choice": LETTERS}},
        read_choice,
        "no structured output: answers are read as text",
    ),
    _Way({"max_tokens": 4}, read_choice, ""),
)


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
