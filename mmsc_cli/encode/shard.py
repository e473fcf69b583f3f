"""A share of a catalogue, for one process of several."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mmsc_cli.errors import InputError


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
