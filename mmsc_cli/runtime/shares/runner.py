"""What a stage sees of where its shares are worked on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from mmsc_cli.runtime.shares.shards import Shard

Result = TypeVar("Result")
# How often a share is begun whose process is killed.
ATTEMPTS = 4


class Runner(Protocol):
    """Calls a share for some or all of the shards of a work."""

    def run(self, share: Callable[[Shard], Result]) -> dict[Shard, Result]:
        """Return what the share returned for each shard that was worked on.

        Args:
            share: a partial of a top-level function, whose arguments and results can be sent between processes. It may
                be called again for a shard whose process was killed.

        Raises:
            MmscError: a share raised it, or its process was killed again and again.
        """


class OneShard:
    """Works on one shard, here; others work on the others."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def run(self, share: Callable[[Shard], Result]) -> dict[Shard, Result]:
        """See `Runner`."""
        return {self._shard: share(self._shard)}


def all_ran(results: dict[Shard, Result]) -> bool:
    """Whether a runner worked on all shards, so that nothing is left to others."""
    return len(results) == next(iter(results)).of
