"""Putting candidate pairs to a language model, shard by shard, without asking anything twice."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.errors import MmscError
from mmsc_cli.label.answer import Answer
from mmsc_cli.label.cache import AnswerCache
from mmsc_cli.label.candidates import Candidates
from mmsc_cli.label.client import LabelClient, chat_url
from mmsc_cli.label.opinion import Opinion, combine
from mmsc_cli.label.prompt import PROMPT_VERSION, Question, ask_pair, quote_items
from mmsc_cli.label.server import serve
from mmsc_cli.labels import Labels
from mmsc_cli.progress import Progress, Task
from mmsc_cli.recipe.settings import LabelSettings


@dataclass(frozen=True)
class Interview:
    """What came of it: labels of the finished pairs, counts, and what stopped it early, if anything did."""

    labels: Labels
    counts: dict[str, Any]
    stopped: MmscError | None


def interview(
    items: pa.Table,
    candidates: Candidates,
    model: str,
    settings: LabelSettings,
    *,
    endpoints: Sequence[str],
    cache: Path | None,
    progress: Progress,
) -> Interview:
    """Ask a model about all candidates that are not in the cache yet, in both orders.

    Without endpoints vLLM is started for it, unless nothing is left to ask; its log lies in the cache. A pair
    is labelled when both its questions are answered; one that was given up has no label.

    Raises:
        InputError: an endpoint is not a URL.
        UnreachableError: there is no server, or it does not start.
        WorkspaceError: the cache is damaged.
    """
    for endpoint in endpoints:
        chat_url(endpoint)
    asking = _Asking(items, candidates, settings, AnswerCache(cache, model, PROMPT_VERSION))
    todo = asking.unanswered()
    client = None
    started = time.monotonic()
    if todo:
        with ExitStack() as stack:
            if not endpoints:
                folder = cache or Path(tempfile.mkdtemp(prefix="mmsc-"))
                endpoints = [stack.enter_context(serve(model, folder / "vllm.log", progress=progress))]
            started = time.monotonic()
            client = LabelClient(endpoints, model, settings)
            with progress.task(f"asking {model}", total=2 * len(todo)) as task:
                asyncio.run(asking.ask(client, todo, task))
    seconds = time.monotonic() - started
    labels = asking.labels(model)
    new = len(labels) - (len(candidates) - len(todo))
    counts = {
        "asked": len(todo),
        "reused": len(candidates) - len(todo),
        "failed": len(todo) - new,
        "retried": client.retried if client else 0,
        "pairs_per_second": round(new / seconds, 2) if new else 0.0,
    }
    return Interview(labels, counts, client.stopped if client else None)


class _Asking:
    def __init__(self, items: pa.Table, candidates: Candidates, settings: LabelSettings, cache: AnswerCache) -> None:
        self._items = items
        self._ids: list[str] = items["item_id"].to_pylist()
        self._pairs = list(zip(candidates.a.tolist(), candidates.b.tolist(), strict=True))
        self._shard = settings.shard_pairs
        self._cache = cache
        self._opinions: list[Opinion | None] = [None] * len(candidates)

    def unanswered(self) -> list[int]:
        """Take from the cache what is there; return the other candidates, in order."""
        for shard in self._shards(range(len(self._pairs))):
            quoted = self._quoted(shard)
            for index in shard:
                self._opinions[index] = self._cache.get(self._key(index, quoted))
        return [index for index, opinion in enumerate(self._opinions) if opinion is None]

    async def ask(self, client: LabelClient, todo: Sequence[int], task: Task) -> None:
        """Ask about the candidates in `todo`, and keep each shard when it is done (or broken off)."""
        async with client:
            for shard in self._shards(todo):
                await self._ask_shard(client, shard, task)
                if client.stopped:
                    return

    async def _ask_shard(self, client: LabelClient, shard: Sequence[int], task: Task) -> None:
        quoted = self._quoted(shard)
        questions: dict[tuple[int, int], Question] = {}
        for a, b in (self._pairs[index] for index in shard):
            both = ask_pair(quoted[a], quoted[b], (self._ids[a], self._ids[b]))
            questions[a, b], questions[b, a] = both
        answers: dict[tuple[int, int], Answer] = {}

        def progressed() -> None:
            task.advance()
            task.show(failed=client.failed, retried=client.retried)

        try:
            # Sorted by the item that comes first in the prompt, for the server's prefix cache.
            await client.ask_all(dict(sorted(questions.items())), answers, progressed)
        finally:
            finished = []
            for index in shard:
                a, b = self._pairs[index]
                if (a, b) in answers and (b, a) in answers:
                    orders = (a, b), (b, a)
                    opinion = combine([questions[order] for order in orders], [answers[order] for order in orders])
                    self._opinions[index] = opinion
                    finished.append((self._key(index, quoted), self._ids[a], self._ids[b], opinion))
            self._cache.add(finished)

    def labels(self, model: str) -> Labels:
        """The finished pairs as a label table."""
        done = [(pair, found) for pair, found in zip(self._pairs, self._opinions, strict=True) if found]

        def column(name: str) -> NDArray[np.float32]:
            return np.array([getattr(opinion, name) for _, opinion in done], dtype=np.float32)

        return Labels(
            a=np.array([pair[0] for pair, _ in done], dtype=np.int32),
            b=np.array([pair[1] for pair, _ in done], dtype=np.int32),
            p_substitute=column("p_substitute"),
            p_complement=column("p_complement"),
            p_neither=column("p_neither"),
            direction=np.array([opinion.direction for _, opinion in done], dtype=np.str_),
            model=np.full(len(done), model),
            prompt_version=np.full(len(done), PROMPT_VERSION),
            label_mass=column("label_mass"),
            agreement=column("agreement"),
        )

    def _shards(self, indices: Sequence[int]) -> Iterator[Sequence[int]]:
        for start in range(0, len(indices), self._shard):
            yield indices[start : start + self._shard]

    def _quoted(self, indices: Sequence[int]) -> dict[int, str]:
        return quote_items(self._items, (row for index in indices for row in self._pairs[index]))

    def _key(self, index: int, quoted: dict[int, str]) -> str:
        a, b = self._pairs[index]
        return self._cache.key(self._ids[a], self._ids[b], quoted[a], quoted[b])
