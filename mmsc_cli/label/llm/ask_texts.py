"""Questions that are answered by a text: nothing is asked twice, and answers are saved as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mmsc_cli.label.llm.cache import AnswerCache
from mmsc_cli.label.llm.endpoint import Endpoint
from mmsc_cli.label.llm.prompt import Message
from mmsc_cli.label.llm.servers import Servers


@dataclass(frozen=True)
class TextQuestion:
    """A question.

    Attributes:
        key: of the answer in the cache.
        about: what the cache says that the answer is about.
        messages: makes the messages when their turn comes; none where there is nothing to ask after all.
    """

    key: str
    about: str
    messages: Callable[[], Sequence[Message]]


def ask_texts(
    questions: Sequence[TextQuestion], servers: Servers, cache: AnswerCache, version: str, tokens: int, subject: str
) -> int:
    """Ask the questions that the cache has no answer to, and put the answers there.

    Args:
        questions: the questions, in the order in which they are asked.
        servers: whom to ask; no server is started where nothing is left to ask.
        cache: where answers are kept, `settings.shard_pairs` at a time; a killed process loses at most as many.
        version: of the wording.
        tokens: how long an answer may be.
        subject: what the questions are about, for the person who waits.

    Returns:
        The number of questions that were asked.

    Raises:
        GateError: too many questions failed.
        UnreachableError: there is no server, or it refuses us.
    """
    todo = [question for question in questions if cache.get(question.key) is None]
    if not todo:
        return 0
    client = servers.client()
    unsaved: list[tuple[str, tuple[str, str], str]] = []

    def save() -> None:
        cache.add(version, unsaved)
        unsaved.clear()

    with servers.progress.task(f"asking {servers.model} about {subject}", total=len(todo)) as task:

        def asked() -> Iterator[tuple[TextQuestion, Sequence[Message]]]:
            for question in todo:
                if messages := question.messages():
                    yield question, messages
                else:
                    task.advance()

        def answered(question: TextQuestion, reply: str | None) -> None:
            task.advance()
            task.show(failed=client.failed, retried=client.retried)
            if reply is not None:
                unsaved.append((question.key, (question.about, ""), reply))
            if len(unsaved) >= servers.settings.shard_pairs:
                save()

        async def ask(endpoint: Endpoint, messages: Sequence[Message]) -> str:
            return await endpoint.ask_for_text(messages, tokens)

        async def ask_all() -> None:
            async with client:
                await client.ask_all(asked(), answered, ask)

        try:
            asyncio.run(ask_all())
        finally:
            save()
    if client.stopped:
        raise client.stopped
    return len(todo)
