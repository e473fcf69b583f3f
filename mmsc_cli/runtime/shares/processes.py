"""Shares in processes of this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

from mmsc_cli.errors import NotEnoughMemoryError
from mmsc_cli.runtime.machine.cores import thread_limits, usable_cores
from mmsc_cli.runtime.parallel import follow_parent
from mmsc_cli.runtime.shares.runner import ATTEMPTS, Result
from mmsc_cli.runtime.shares.shards import Shard

_LOG = logging.getLogger(__name__)


class Processes:
    """Works in a number of processes, which share the cores; one that is killed is replaced."""

    def __init__(self, number: int) -> None:
        self._number = number

    def run(self, share: Callable[[Shard], Result]) -> dict[Shard, Result]:
        """See `Runner`."""
        shards = Shard(1, self._number).siblings()
        results: dict[Shard, Result] = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                _LOG.warning("a worker was killed: what is left of its share begins again")
            results |= self._once(share, [shard for shard in shards if shard not in results])
            if len(results) == len(shards):
                return results
        left = ", ".join(str(shard) for shard in shards if shard not in results)
        raise NotEnoughMemoryError(
            f"workers of shares {left} were killed {ATTEMPTS} times, most likely for lack of memory",
            hint=f"what is finished is kept; try with fewer at a time: --workers {max(1, self._number // 2)}",
        )

    def _once(self, share: Callable[[Shard], Result], shards: Sequence[Shard]) -> dict[Shard, Result]:
        """Begin each shard in a process of its own; return the results of those that were not killed."""
        # loky, unlike the standard library's pool, needs no main guard in the caller's script.
        from loky import ProcessPoolExecutor  # noqa: PLC0415  0.4 s

        # For processes that are started from here: a json.py of the user's in the current folder must not be imported.
        os.environ["PYTHONSAFEPATH"] = "1"
        threads = thread_limits(max(1, usable_cores() // self._number))
        executor = ProcessPoolExecutor(
            len(shards),
            timeout=None,
            env={name: os.environ.get(name, number) for name, number in threads.items()},
            initializer=follow_parent,
            initargs=(os.getpid(),),
        )
        try:
            futures = {shard: executor.submit(_begin, share, shard) for shard in shards}
            wait(futures.values(), return_when=FIRST_EXCEPTION)
            results = {}
            for shard, future in futures.items():
                with suppress(BrokenProcessPool):  # it was killed, or ended as another was
                    if future.done():
                        results[shard] = future.result()
            return results
        finally:
            executor.shutdown(wait=True, kill_workers=True)


def _begin(share: Callable[[Shard], Result], shard: Shard) -> Result:
    os.environ["LOCAL_RANK"] = str(shard.number - 1)  # each takes a GPU of its own, where there are several
    return share(shard)
