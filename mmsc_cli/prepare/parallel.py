"""The same function over a stream of inputs, on all cores, results in order."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

Input = TypeVar("Input")
Result = TypeVar("Result")
_LONGEST_QUEUE = 64


def map_in_order(function: Callable[[Input], Result], inputs: Iterable[Input], cores: int) -> Iterator[Result]:
    """Yield `function(input)` for each input, in their order.

    This process works too, from the start, while the others come up: a short stream never waits for them. `function`
    must be importable by name; what it returns, and what it raises, must survive being sent between processes, and
    should be small, since some dozens of results may wait for a slow one before them.
    """
    if cores == 1:
        yield from map(function, inputs)
        return
    # loky rather than the standard library's pools: a caller's script needs no main guard.
    from loky import ProcessPoolExecutor

    helpers = cores - 1
    executor = ProcessPoolExecutor(helpers, timeout=10, initializer=_begin, initargs=(os.getpid(),))
    try:
        ready = executor.submit(os.getpid)
        waiting: deque[Future[Result]] = deque()
        for one in inputs:
            busy = sum(not future.done() for future in waiting)
            if ready.done() and busy < 2 * helpers:
                waiting.append(executor.submit(function, one))
            else:
                waiting.append(_done(function(one)))
            while waiting and (waiting[0].done() or len(waiting) > _LONGEST_QUEUE):
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _done(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future


def _begin(parent: int) -> None:
    """Leave interrupts to the parent, and go when it goes: killed, it cannot tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
