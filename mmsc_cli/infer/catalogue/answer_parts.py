"""Parts: the answers for 4,096 items each, as lines of JSON, written atomically."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from mmsc_cli.errors import MmscError
from mmsc_cli.infer.answers import Answer, Answers
from mmsc_cli.infer.catalogue.wanted import Wanted
from mmsc_cli.infer.explain import Explanation
from mmsc_cli.infer.recommender import Outcome
from mmsc_cli.runtime.atomic import atomic_write, make_directory
from mmsc_cli.runtime.shares.runner import Runner
from mmsc_cli.runtime.shares.shards import Shard
from mmsc_cli.workspace.lock import locked
from mmsc_cli.workspace.workspace import Workspace

PART_ITEMS = 4_096
UNFINISHED = "answering"  # the folder of finished parts
_WHY = Answer._fields.index("why")


@contextmanager
def answered_by(runner: Runner, wanted: Wanted, items: int) -> Iterator[Callable[[Sequence[str]], Iterator[Outcome]]]:
    """Let a runner answer for every item; yield what then answers for all items, some after the other in their order.

    Finished parts outlive an interrupted run, and one that wants the same uses them; they go at the end.

    Raises:
        WorkspaceError: another process answers by shares here, or another index was put in place meanwhile.
    """
    wanted = wanted.absolute()
    folder = Workspace(wanted.root).work_folder(UNFINISHED)
    make_directory(folder)
    with locked(folder):
        fingerprint = wanted.fingerprint()
        for other in folder.iterdir():
            if other.is_dir() and other.name != fingerprint:
                shutil.rmtree(other, ignore_errors=True)
        parts = _Parts(folder / fingerprint, items, PART_ITEMS)
        make_directory(parts.folder)
        runner.run(partial(answer_share, wanted, parts, fingerprint))
        wanted.check(fingerprint)
        stored = parts.read()
        yield lambda ids: islice(stored, len(ids))
        shutil.rmtree(folder, ignore_errors=True)


def answer_share(wanted: Wanted, parts: _Parts, fingerprint: str, shard: Shard) -> None:
    """Answer for the parts of a shard that are not finished."""
    todo = [number for number in shard.parts(range(len(parts))) if not parts.path(number).exists()]
    if not todo:
        return
    recommender = wanted.open()
    wanted.check(fingerprint)
    for number in todo:
        ids = [recommender.index.ids[row] for row in parts.rows(number)]
        with atomic_write(parts.path(number)) as file:
            for outcome in wanted.answer(recommender, ids):
                if isinstance(outcome, MmscError):
                    raise outcome
                rows = [[*answer[:_WHY], answer.why and vars(answer.why), *answer[_WHY + 1 :]] for answer in outcome]
                file.write(json.dumps([outcome.blocked, rows]).encode() + b"\n")


@dataclass(frozen=True)
class _Parts:
    """The parts of the answers for a number of items. The cuts depend on nothing else."""

    folder: Path
    items: int
    size: int

    def __len__(self) -> int:
        return -(-self.items // self.size)

    def path(self, number: int) -> Path:
        return self.folder / f"part-{number + 1:06d}-of-{len(self):06d}.jsonl"

    def rows(self, number: int) -> range:
        return range(number * self.size, min((number + 1) * self.size, self.items))

    def read(self) -> Iterator[Outcome]:
        for number in range(len(self)):
            with self.path(number).open("rb") as file:
                for line in file:
                    blocked, rows = json.loads(line)
                    yield Answers(map(_answer, rows), blocked)


def _answer(row: list[Any]) -> Answer:
    why = row[_WHY]
    if isinstance(why, dict):
        row[_WHY] = Explanation(**why)
    return Answer(*row)
