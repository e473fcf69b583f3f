"""Asking a language model about pairs: nothing twice, and answers are saved as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.errors import GateError, MmscError
from mmsc_cli.label.llm.cache import AnswerCache
from mmsc_cli.label.llm.client import LabelClient
from mmsc_cli.label.llm.endpoint import Endpoint
from mmsc_cli.label.llm.pictures import Pictures
from mmsc_cli.label.llm.prompt import DIRECTION, RELATION, Form, Question, quote_items
from mmsc_cli.label.llm.reply import Reply
from mmsc_cli.label.llm.servers import Servers
from mmsc_cli.label.opinions import Calibration, Opinions
from mmsc_cli.runtime.progress import Task
from mmsc_cli.tables.relations import CLASSES

SAVE_SECONDS = 60.0
FIRST_PAIRS = 100  # a model that does not understand the question is not asked about more
ONE_WAY = 2 / 3  # fraction of the probability of both ways that makes a complement go one way
_Key = tuple[int, bool]  # number of the pair, and whether its second item comes first


class PairAnswer(NamedTuple):
    """The answers to both orders of one pair: probabilities of the form's options, as seen from (A, B).

    `label_mass` is the mean of both orders.
    """

    first: Sequence[float]
    second: Sequence[float]
    label_mass: float

    @classmethod
    def of_cache(cls, known: object) -> PairAnswer | None:
        """What the cache has of a pair; None for nothing, and for what no answer is: somebody else wrote it."""
        try:
            one, other, mass = cast(Any, known)
            numbers = np.array([*one, *other, mass], np.float64)
        except (TypeError, ValueError):
            return None
        is_sound = len(one) == len(other) == len(CLASSES) and ((numbers >= 0) & (numbers <= 1)).all()
        return cls(one, other, mass) if is_sound else None


@dataclass(frozen=True)
class Interview:
    """Its outcome: opinions on the answered pairs, counts, and the error that stopped it early, if one did."""

    opinions: Opinions
    counts: dict[str, Any]
    stopped: MmscError | None


def interview(
    item_table: pa.Table, a: NDArray[np.int32], b: NDArray[np.int32], servers: Servers, pictures: Pictures | None = None
) -> Interview:
    """Ask a model about all pairs of item rows that are not in the cache yet, in both orders.

    First how the two relate; then, of the pairs that are complements, which way they go. A pair counts as answered
    when both orders of the first question are.

    Args:
        item_table: the item table.
        a: shape (pairs,), `a < b`; sorted, which suits the server's prefix cache.
        b: shape (pairs,).
        servers: whom to ask; no server is started where nothing is left to ask.
        pictures: of the items, for a model that sees.

    Raises:
        InputError: the key in the environment cannot be one.
        UnreachableError: there is no server, or it does not start.
        WorkspaceError: the cache is damaged.
    """
    answers = AnswerCache(servers.cache, servers.model)
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    relations = _Asking(RELATION, item_table, pairs, servers, answers, pictures)
    relations.ask()
    answered = [(row, answer) for row, answer in enumerate(relations.answers) if answer]
    rows = [row for row, _ in answered]
    orders = np.array([(answer.first, answer.second) for _, answer in answered]).reshape(-1, 2, len(CLASSES))
    direction = np.full(len(rows), "both", dtype="<U6")
    ways = None
    label_mass = np.array([answer.label_mass for _, answer in answered], np.float32)
    stopped = (servers.asked and servers.asked.stopped) or _not_understood(label_mass, servers.settings.least_mass)
    if not stopped:
        mean = Calibration.of_candidates(orders.mean(axis=1)).apply(orders).mean(axis=1)
        complements = np.flatnonzero(mean.argmax(axis=1) == CLASSES.index("complement")).tolist()
        which = [pairs[rows[number]] for number in complements]
        ways = _Asking(DIRECTION, item_table, which, servers, answers, pictures)
        ways.ask()
        direction[complements] = [_direction(answer) for answer in ways.answers]
    opinions = Opinions(
        a=a[rows],
        b=b[rows],
        orders=orders,
        direction=direction,
        label_mass=label_mass,
        annotator=servers.model,
        version=RELATION.version,
    )
    asked, client = len(relations.todo), servers.asked
    new = len(rows) - (len(pairs) - asked)
    seconds = relations.seconds + (ways.seconds if ways else 0.0)
    tokens = client.tokens if client else 0
    counts = {
        "asked": asked,
        "reused": len(pairs) - asked,
        "failed": asked - new,
        "questions": client.answered if client else 0,
        "retried": client.retried if client else 0,
        "tokens": tokens,
        "pairs_per_second": round(new / seconds, 2) if new else 0.0,
        "tokens_per_second": round(tokens / seconds, 1) if tokens else 0.0,
    }
    return Interview(opinions, counts, (client and client.stopped) or stopped)


def _not_understood(label_mass: Sequence[float] | NDArray[np.float32], least: float) -> GateError | None:
    """The error of answers of which too little fell on the letters; `label_mass`: of each, (answers,)."""
    mass = float(np.mean(label_mass)) if len(label_mass) else 1.0
    if mass >= least:
        return None
    return GateError(
        f"only {mass:.0%} of the model's probability fell on the letters it may answer with: it does not understand "
        "the question, or thinks aloud",
        hint=f"take an instruct model, or let it pass: --set label.least_mass={max(0.0, mass - 0.005):.2f}",
    )


def _direction(answer: PairAnswer | None) -> str:
    """One way if it holds at least ONE_WAY of the probability, of which "either way" is half for each; else both."""
    if answer is None:
        return "both"
    b_with_a, _, either = np.mean([answer.first, answer.second], axis=0)
    share = b_with_a + either / 2
    return "a_to_b" if share >= ONE_WAY else "b_to_a" if 1 - share >= ONE_WAY else "both"


class _Asking:
    """One kind of question about pairs, the answers, and the questions on their way.

    Attributes:
        answers: to each pair; None without one.
        todo: numbers of the pairs that were not in the cache.
        seconds: how long asking took.

    Pairs are asked about in windows of half a shard, and answers are saved when there is half a shard of them: a killed
    process loses at most a shard.
    """

    def __init__(
        self,
        form: Form,
        item_table: pa.Table,
        pairs: list[tuple[int, int]],
        servers: Servers,
        cache: AnswerCache,
        pictures: Pictures | None,
    ) -> None:
        self._form = form
        self._item_table = item_table
        self._ids: list[str] = item_table["item_id"].to_pylist()
        self._pairs = pairs
        self._servers = servers
        self._pictures = pictures
        self._half_shard = max(1, servers.settings.shard_pairs // 2)
        self._cache = cache
        self.answers: list[PairAnswer | None] = [None] * len(pairs)
        self.todo: list[int] = []
        self.seconds = 0.0
        self._keys: dict[int, str] = {}
        self._waiting: dict[int, dict[bool, tuple[Question, Reply]]] = {}
        self._asked: dict[_Key, Question] = {}
        self._finished: list[int] = []
        self._first_masses: list[float] = []
        self._saved = time.monotonic()

    def ask(self) -> None:
        """Take answers from the cache, and ask the servers for the others, if there are any."""
        self.todo = self._unanswered()
        if self.todo:
            client = self._servers.client()
            started = time.monotonic()
            with self._servers.progress.task(f"asking {self._servers.model}", total=2 * len(self.todo)) as task:
                asyncio.run(self._ask(client, self.todo, task))
            self.seconds = time.monotonic() - started

    def _unanswered(self) -> list[int]:
        """Take answers from the cache; return the numbers of the pairs without one, in order."""
        for window in self._windows(range(len(self._pairs))):
            shown = self._shown(window)
            for index in window:
                known = self._cache.get(self._key(index, shown))
                self.answers[index] = PairAnswer.of_cache(known)
        return [index for index, answer in enumerate(self.answers) if answer is None]

    async def _ask(self, client: LabelClient, todo: Sequence[int], task: Task) -> None:
        """Ask about the pairs in `todo`, and save the answers as they come, also when it is interrupted."""
        started = self._saved = time.monotonic()
        questions, tokens = client.answered, client.tokens  # of the kinds of questions before

        def answered(key: _Key, answer: Reply | None) -> None:
            self._take(key, answer)
            if len(self._first_masses) == FIRST_PAIRS:
                client.stopped = client.stopped or _not_understood(self._first_masses, client.settings.least_mass)
            seconds = max(time.monotonic() - started, 1e-6)
            task.advance()
            task.show(
                **{
                    "pairs/s": (client.answered - questions) / 2 / seconds,
                    "tokens/s": (client.tokens - tokens) / seconds,
                },
                failed=client.failed,
                retried=client.retried,
            )

        try:
            async with client:
                await client.ask_all(self._questions(todo), answered, Endpoint.ask)
        finally:
            self._save()

    def _questions(self, todo: Sequence[int]) -> Iterator[tuple[_Key, Question]]:
        for window in self._windows(todo):
            shown = self._shown(window)
            order: list[tuple[tuple[int, int], _Key]] = []
            for index in window:
                a, b = self._pairs[index]
                (quoted_a, picture_a), (quoted_b, picture_b) = shown[a], shown[b]
                both = self._form.ask(quoted_a, quoted_b, (self._ids[a], self._ids[b]), (picture_a, picture_b))
                self._asked[index, False], self._asked[index, True] = both
                self._keys[index] = self._key(index, shown)
                order += [((a, b), (index, False)), ((b, a), (index, True))]
            # Sorted by the item that comes first in the prompt, for the server's prefix cache.
            for _, key in sorted(order):
                yield key, self._asked[key]

    def _take(self, key: _Key, answer: Reply | None) -> None:
        index, swapped = key
        question = self._asked.pop(key)
        if answer is None:
            return
        answers = self._waiting.setdefault(index, {})
        answers[swapped] = question, answer
        if len(answers) == 2:
            del self._waiting[index]
            first, second = (
                self._form.in_order(question, answer.by_letter, swapped=swapped)
                for swapped, (question, answer) in sorted(answers.items())
            )
            label_mass = sum(answer.label_mass for _, answer in answers.values()) / 2
            self.answers[index] = PairAnswer(first, second, label_mass)
            if len(self._first_masses) < FIRST_PAIRS:
                self._first_masses.append(label_mass)
            self._finished.append(index)
            if len(self._finished) >= self._half_shard or time.monotonic() - self._saved > SAVE_SECONDS:
                self._save()

    def _save(self) -> None:
        rows = []
        for index in self._finished:
            answer = self.answers[index]
            assert answer is not None, "it is finished"
            a, b = self._pairs[index]
            rows.append((self._keys.pop(index), (self._ids[a], self._ids[b]), list(answer)))
        self._cache.add(self._form.version, rows)
        self._finished.clear()
        self._saved = time.monotonic()

    def _windows(self, indices: Sequence[int]) -> Iterator[Sequence[int]]:
        for start in range(0, len(indices), self._half_shard):
            yield indices[start : start + self._half_shard]

    def _shown(self, indices: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Quoted text, and picture or an empty string, of all items in some pairs, by item row."""
        rows = {row for index in indices for row in self._pairs[index]}
        pictures = self._pictures.of_items(rows) if self._pictures else {}
        return {row: (text, pictures.get(row, "")) for row, text in quote_items(self._item_table, rows).items()}

    def _key(self, index: int, shown: dict[int, tuple[str, str]]) -> str:
        a, b = self._pairs[index]
        return self._cache.key(self._form.version, (self._ids[a], self._ids[b]), ("".join(shown[a]), "".join(shown[b])))
