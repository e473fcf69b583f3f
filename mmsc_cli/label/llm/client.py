"""Asking one or more servers: many questions at once, failures retried, counted, and never guessed over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from types import TracebackType
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from mmsc_cli.errors import GateError, MmscError, UnreachableError
from mmsc_cli.label.llm.endpoint import Endpoint, RetryError, UnanswerableError
from mmsc_cli.label.settings import LabelSettings

LONGEST_WAIT = 30.0
Key = TypeVar("Key", bound=Hashable)
Asked = TypeVar("Asked")
Reply = TypeVar("Reply")
_LOG = logging.getLogger(__name__)


class LabelClient:
    """Asks questions of one or more servers, in turn. An asynchronous context manager.

    Attributes:
        answered: number of answers.
        retried: number of further tries.
        failed: number of questions that got no answer.
        stopped: the error that ended the work early: a refusal that no retry can change, or `settings.max_failures`
            failed questions.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        model: str,
        settings: LabelSettings,
        *,
        key: str | None = None,
        broken: Callable[[], MmscError | None] | None = None,
    ) -> None:
        """Prepare to ask.

        Args:
            endpoints: base URLs of the servers.
            model: the name the servers know the model by.
            settings: manners.
            key: of a server of our own; None: the user's, from the environment.
            broken: why no server can answer any more, where that is known of a server of our own.

        Raises:
            InputError: an endpoint is not an http(s) URL, or the user's key cannot be one.
        """
        self.settings = settings
        self.retried = 0
        self.failed = 0
        self.answered = 0
        self.stopped: MmscError | None = None
        self._broken = broken
        self._endpoints = [Endpoint(endpoint, model, settings.timeout, key) for endpoint in endpoints]
        self._next = cycle(self._endpoints)
        self._stack = AsyncExitStack()
        self._backoff = wait_exponential(settings.backoff, LONGEST_WAIT) + wait_random(0, settings.backoff)

    @property
    def tokens(self) -> int:
        """Number of tokens that the servers report to have read and written."""
        return sum(endpoint.tokens for endpoint in self._endpoints)

    async def __aenter__(self) -> LabelClient:
        for endpoint in self._endpoints:
            await self._stack.enter_async_context(endpoint)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def ask_all(
        self,
        questions: Iterable[tuple[Key, Asked]],
        answered: Callable[[Key, Reply | None], None],
        ask: Callable[[Endpoint, Asked], Awaitable[Reply]],
    ) -> None:
        """Ask all questions in their order, `settings.concurrency` at a time, until done or `stopped`.

        Calls `ask` to put a question to one of the servers, and `answered` with each answer as it comes, or with None
        for a question that failed.
        """
        pending = iter(questions)

        async def work() -> None:
            for key, question in pending:
                answer = await self._ask(question, ask)
                if self.stopped and answer is None:
                    return
                answered(key, answer)
                if self.stopped:
                    return

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.settings.concurrency):
                    group.create_task(work())
        except ExceptionGroup as errors:
            # Of `answered`, such as a full disk: all tasks stop at the first, and one error is enough to report.
            raise errors.exceptions[0] from errors

    async def _ask(self, question: Asked, ask: Callable[[Endpoint, Asked], Awaitable[Reply]]) -> Reply | None:
        tries = AsyncRetrying(
            stop=self._enough,
            wait=self._wait,
            retry=retry_if_exception_type(RetryError),
            before_sleep=self._count_retry,
            reraise=True,
        )

        async def ask_next() -> Reply:
            return await ask(next(self._next), question)

        try:
            answer: Reply = await tries(ask_next)
        except (RetryError, UnanswerableError) as error:
            if not self.stopped:
                self._count_failure(str(error))
            return None
        except MmscError as error:
            self.stopped = self.stopped or error
            return None
        self.answered += 1
        return answer

    def _enough(self, state: RetryCallState) -> bool:
        self.stopped = self.stopped or (self._broken() if self._broken else None)
        return self.stopped is not None or stop_after_attempt(self.settings.retries + 1)(state)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_for = error.wait if isinstance(error, RetryError) else None
        return self._backoff(state) if asked_for is None else min(asked_for, LONGEST_WAIT)

    def _count_retry(self, _: RetryCallState) -> None:
        self.retried += 1

    def _count_failure(self, reason: str) -> None:
        self.failed += 1
        _LOG.info("a question failed: %s", reason)
        if self.failed < self.settings.max_failures:
            return
        summary = f"{self.failed} questions failed, the last one because: {reason}"
        if any(endpoint.reached for endpoint in self._endpoints):
            hint = "check the server, then run the same command again: finished answers are kept"
            self.stopped = GateError(summary, hint=hint)
        else:
            named = ", ".join(endpoint.url for endpoint in self._endpoints)
            self.stopped = UnreachableError(f"no server answers at {named}: {summary}", hint="check --endpoint")
