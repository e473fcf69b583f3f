"""The same function over a stream of inputs, on all cores, results in order.

Work done in threads ahead of who needs it, in order and never far ahead."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from mmsc_cli.runtime.cores import usable_cores

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


_MOST_THREADS = 32


def decoding_threads() -> ThreadPoolExecutor:
    """Threads for decoding: Pillow lets go of the interpreter while it decodes and resizes."""
    return ThreadPoolExecutor(min(usable_cores(), _MOST_THREADS), thread_name_prefix="decode")


def map_ahead(
    pool: Executor, function: Callable[[Input], Result], inputs: Iterable[Input], *, depth: int
) -> Iterator[Result]:
    """Yield `function(input)` for each input, in their order, with up to `depth` of them begun ahead."""
    begun: deque[Future[Result]] = deque()
    try:
        for one in inputs:
            begun.append(pool.submit(function, one))
            if len(begun) > depth:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()


In = TypeVar("In")
Out = TypeVar("Out")


def in_order(function: Callable[[In], Out], blocks: Sequence[In]) -> Iterator[Out]:
    """`function` of each block, in their order, computed on all cores, a few blocks ahead of who takes them.

    Each thread multiplies alone: numpy's own threads would fight over the cores with ours.
    """
    workers = min(usable_cores(), len(blocks))
    if workers < 2:
        yield from map(function, blocks)
        return
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    ahead: deque[Future[Out]] = deque()
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers, thread_name_prefix="search") as pool:
        try:
            for block in blocks:
                ahead.append(pool.submit(function, block))
                if len(ahead) > workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
