"""Work under way: where a run keeps what is done, so that the same command continues and shares come together.

A share of a catalogue, for one process of several."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmsc_cli.errors import InputError
from mmsc_cli.runtime.atomic import write_json


@dataclass(frozen=True)
class Shard:
    """Number `number` (from 1) of `of` shares of equal size, which are contiguous rows of the item table."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def rows(self, items: int) -> range:
        """The rows of the item table that are this share's."""
        start, stop = (items * number // self.of for number in (self.number - 1, self.number))
        return range(start, stop)

    def siblings(self) -> list[Shard]:
        """All the shares of which this is one, in the order of rows."""
        return [Shard(number, self.of) for number in range(1, self.of + 1)]


WHOLE = Shard()


def parse_shard(text: str) -> Shard:
    """Read `i/n`, with i from 1 to n.

    Raises:
        InputError: it is something else.
    """
    found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if not found or int(found[1]) > int(found[2]):
        raise InputError(f"--shard {text}: not of the form i/n with i from 1 to n", hint="use --shard 1/4, for example")
    return Shard(int(found[1]), int(found[2]))


def torchrun_shard(environment: Mapping[str, str] = os.environ) -> Shard | None:
    """The share that torchrun gives this process by its rank; None where torchrun started nothing, or one process."""
    of = int(environment.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in environment else 1
    return Shard(int(environment["RANK"]) + 1, of) if of > 1 else None


class Work:
    """A folder for one plan: what is encoded, with what. Another plan has another folder, so that nothing is mixed.

    In it a folder for each share, what the encoder was fitted on, and the adapter under way.
    """

    def __init__(self, root: Path, plan: Mapping[str, Any]) -> None:
        """Make the folder of a plan, or find it."""
        written = json.dumps(plan, sort_keys=True)
        self.folder = root / sha256(written.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "plan.json").exists():
            write_json(self.folder / "plan.json", dict(plan))

    @property
    def fitted(self) -> Path:
        """Where an encoder that is fitted on the catalogue is kept."""
        return self.folder / "encoder"

    @property
    def adapter(self) -> Path:
        """Where an adapter and the state of its training are kept; the folder is made."""
        folder = self.folder / "adapter"
        folder.mkdir(exist_ok=True)
        return folder

    def share(self, shard: Shard) -> Path:
        """Where a share's vectors are kept; the folder is made."""
        folder = self.folder / f"shard-{shard.number}-of-{shard.of}"
        folder.mkdir(exist_ok=True)
        return folder

    def finish(self, shard: Shard, counts: Mapping[str, Any]) -> None:
        """Say that a share is done."""
        write_json(self.share(shard) / "finished.json", dict(counts))

    def counts(self, shard: Shard) -> dict[str, Any] | None:
        """What was counted in a share; None where it is not done."""
        try:
            found: dict[str, Any] = json.loads(
                (self.folder / f"shard-{shard.number}-of-{shard.of}" / "finished.json").read_bytes()
            )
        except FileNotFoundError:
            return None
        return found

    def missing(self, shard: Shard) -> list[Shard]:
        """Of all the shares of which this is one, those that are not done."""
        return [sibling for sibling in shard.siblings() if self.counts(sibling) is None]

    def complete(self) -> Shard | None:
        """A share of a set that is done as a whole, however many there are; None where there is no such set."""
        for folder in sorted(self.folder.glob("shard-1-of-*")):
            shard = Shard(1, int(folder.name.rpartition("-")[2]))
            if not self.missing(shard):
                return shard
        return None if self.missing(WHOLE) else WHOLE

    def remove_others(self) -> None:
        """Remove what other plans left unfinished."""
        for folder in self.folder.parent.iterdir():
            if folder != self.folder:
                shutil.rmtree(folder, ignore_errors=True)
