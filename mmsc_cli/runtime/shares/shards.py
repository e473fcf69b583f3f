"""Shards: which of several processes does which part of a work."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mmsc_cli.errors import InputError

Part = TypeVar("Part")


@dataclass(frozen=True)
class Shard:
    """Shard `number` (from 1) of `of`."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def parts(self, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts of this shard: every `of`-th one."""
        return parts[self.number - 1 :: self.of]

    def rows(self, number: int) -> range:
        """Return the rows of this shard: a run of `number` rows, so that shards in their order hold all in order."""
        return range((self.number - 1) * number // self.of, self.number * number // self.of)

    def siblings(self) -> list[Shard]:
        """Return all shards of the same work, this one included."""
        return [Shard(number, self.of) for number in range(1, self.of + 1)]


WHOLE = Shard()


def parse_shard(text: str) -> Shard:
    """Read `i/n`, with i from 1 to n.

    Raises:
        InputError: `text` has another form.
    """
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if not match or int(match[1]) > int(match[2]):
        raise InputError(f"--shard {text}: not of the form i/n with i from 1 to n", hint="use --shard 1/4, for example")
    return Shard(int(match[1]), int(match[2]))


def torchrun_shard(environment: Mapping[str, str] = os.environ) -> Shard | None:
    """Return the shard of this process by its torchrun rank; None without torchrun, or if it started one process."""
    of = int(environment.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in environment else 1
    return Shard(int(environment["RANK"]) + 1, of) if of > 1 else None
