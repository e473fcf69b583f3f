"""Asking a language model about pairs: nothing twice, and answers are saved as they come."""

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
from mmsc_cli.label.llm.cache import AnswerCache
from mmsc_cli.label.llm.client import LabelClient
from mmsc_cli.label.llm.endpoint import base_url
from mmsc_cli.label.llm.opinion import Opinion, combine
from mmsc_cli.label.llm.prompt import PROMPT_VERSION, Question, ask_pair, quote_items
from mmsc_cli.label.llm.reply import Answer
from mmsc_cli.label.settings import LabelSettings
from mmsc_cli.label.vllm.server import serve
from mmsc_cli.runtime.progress import Progress, Task
from mmsc_cli.tables.labels import Labels

SAVE_SECONDS = 60.0
_Key = tuple[int, bool]  # number of the pair, and whether its second item comes first


@dataclass(frozen=True)
class Interview:
    """Its outcome: labels of the answered pairs, counts, and the error that stopped it early, if one did."""

    labels: Labels
    counts: dict[str, Any]
    stopped: MmscError | None


def interview(
    item_table: pa.Table,
    a: NDArray[np.int32],
    b: NDArray[np.int32],
    model: str,
    settings: LabelSettings,
    *,
    endpoints: Sequence[str],
    cache: Path | None,
    progress: Progress,
) -> Interview:
    """Ask a model about all pairs of item rows that are not in the cache yet, in both orders.

    Without endpoints vLLM is started for it, unless nothing is left to ask; its log lies in the cache. A pair
    is labelled when both its questions are answered.

    Args:
        item_table: the item table.
        a: shape (pairs,), `a < b`; sorted, which suits the server's prefix cache.
        b: shape (pairs,).
        model: the name the server knows the model by.
        settings: manners.
        endpoints: base URLs of servers.
        cache: a folder for finished answers; None: they do not outlive the run.
        progress: where the progress is shown.

    Raises:
        InputError: an endpoint is not a URL, or the key in the environment cannot be one.
        UnreachableError: there is no server, or it does not start.
        WorkspaceError: the cache is damaged.
    """
    for endpoint in endpoints:
        base_url(endpoint)
    asking = _Asking(item_table, a, b, settings, AnswerCache(cache, model, PROMPT_VERSION))
    todo = asking.unanswered()
    client = None
    started = time.monotonic()
    if todo:
        with ExitStack() as stack:
            if endpoints:
                client = LabelClient(endpoints, model, settings)
            else:
                folder = cache or Path(tempfile.mkdtemp(prefix="mmsc-"))
                server = stack.enter_context(serve(model, folder / "vllm.log", settings.server, progress=progress))
                client = LabelClient([server.url], model, settings, key=server.key, broken=server.ended)
            started = time.monotonic()
            with progress.task(f"asking {model}", total=2 * len(todo)) as task:
                asyncio.run(asking.ask(client, todo, task))
    seconds = time.monotonic() - started
    labels = asking.labels(model)
    new = len(labels) - (len(a) - len(todo))
    tokens = client.tokens if client else 0
    counts = {
        "asked": len(todo),
        "reused": len(a) - len(todo),
        "failed": len(todo) - new,
        "retried": client.retried if client else 0,
        "tokens": tokens,
        "pairs_per_second": round(new / seconds, 2) if new else 0.0,
        "tokens_per_second": round(tokens / seconds, 1) if tokens else 0.0,
    }
    return Interview(labels, counts, client.stopped if client else None)


class _Asking:
    """The pairs, the opinions on them, and the questions on their way.

    Pairs are asked about in windows of half a shard, and answers are saved when there is half a shard of them: a killed
    process loses at most a shard.
    """

    def __init__(
        self,
        item_table: pa.Table,
        a: NDArray[np.int32],
        b: NDArray[np.int32],
        settings: LabelSettings,
        cache: AnswerCache,
    ) -> None:
        self._item_table = item_table
        self._ids: list[str] = item_table["item_id"].to_pylist()
        self._pairs = list(zip(a.tolist(), b.tolist(), strict=True))
        self._half_shard = max(1, settings.shard_pairs // 2)
        self._cache = cache
        self._opinions: list[Opinion | None] = [None] * len(a)
        self._keys: dict[int, str] = {}
        self._waiting: dict[int, dict[bool, tuple[Question, Answer]]] = {}
        self._asked: dict[_Key, Question] = {}
        self._finished: list[int] = []
        self._saved = time.monotonic()

    def unanswered(self) -> list[int]:
        """Take opinions from the cache; return the numbers of the pairs without one, in order."""
        for window in self._windows(range(len(self._pairs))):
            quoted = self._quoted(window)
            for index in window:
                self._opinions[index] = self._cache.get(self._key(index, quoted))
        return [index for index, opinion in enumerate(self._opinions) if opinion is None]

    async def ask(self, client: LabelClient, todo: Sequence[int], task: Task) -> None:
        """Ask about the pairs in `todo`, and save the answers as they come, also when it is interrupted."""
        started = self._saved = time.monotonic()

        def answered(key: _Key, answer: Answer | None) -> None:
            self._take(key, answer)
            seconds = max(time.monotonic() - started, 1e-6)
            task.advance()
            task.show(
                **{"pairs/s": client.answered / 2 / seconds, "tokens/s": client.tokens / seconds},
                failed=client.failed,
                retried=client.retried,
            )

        try:
            async with client:
                await client.ask_all(self._questions(todo), answered)
        finally:
            self._save()

    def _questions(self, todo: Sequence[int]) -> Iterator[tuple[_Key, Question]]:
        for window in self._windows(todo):
            quoted = self._quoted(window)
            order: list[tuple[tuple[int, int], _Key]] = []
            for index in window:
                a, b = self._pairs[index]
                both = ask_pair(quoted[a], quoted[b], (self._ids[a], self._ids[b]))
                self._asked[index, False], self._asked[index, True] = both
                self._keys[index] = self._key(index, quoted)
                order += [((a, b), (index, False)), ((b, a), (index, True))]
            # Sorted by the item that comes first in the prompt, for the server's prefix cache.
            for _, key in sorted(order):
                yield key, self._asked[key]

    def _take(self, key: _Key, answer: Answer | None) -> None:
        index, swapped = key
        question = self._asked.pop(key)
        if answer is None:
            return
        answers = self._waiting.setdefault(index, {})
        answers[swapped] = question, answer
        if len(answers) == 2:
            del self._waiting[index]
            first, second = answers[False], answers[True]
            self._opinions[index] = combine([first[0], second[0]], [first[1], second[1]])
            self._finished.append(index)
            if len(self._finished) >= self._half_shard or time.monotonic() - self._saved > SAVE_SECONDS:
                self._save()

    def _save(self) -> None:
        rows = []
        for index in self._finished:
            opinion = self._opinions[index]
            assert opinion is not None, "it is finished"
            a, b = self._pairs[index]
            rows.append((self._keys.pop(index), self._ids[a], self._ids[b], opinion))
        self._cache.add(rows)
        self._finished.clear()
        self._saved = time.monotonic()

    def labels(self, model: str) -> Labels:
        """The finished pairs as a label table."""
        done = [(pair, opinion) for pair, opinion in zip(self._pairs, self._opinions, strict=True) if opinion]

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

    def _windows(self, indices: Sequence[int]) -> Iterator[Sequence[int]]:
        for start in range(0, len(indices), self._half_shard):
            yield indices[start : start + self._half_shard]

    def _quoted(self, indices: Sequence[int]) -> dict[int, str]:
        return quote_items(self._item_table, (row for index in indices for row in self._pairs[index]))

    def _key(self, index: int, quoted: dict[int, str]) -> str:
        a, b = self._pairs[index]
        return self._cache.key(self._ids[a], self._ids[b], quoted[a], quoted[b])
