"""One function over a stream of inputs, in processes or threads; the results come in the order of the inputs."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from mmsc_cli.runtime.machine.cores import usable_cores

_LOG = logging.getLogger(__name__)
Input = TypeVar("Input")
Result = TypeVar("Result")
_MOST_THREADS = 32
_LONGEST_QUEUE = 64


def map_in_threads(function: Callable[[Input], Result], inputs: Iterable[Input], ahead: int) -> Iterator[Result]:
    """Yield `function(input)` for each input, with up to `ahead` of them started before their turn.

    For functions that release the interpreter, such as Pillow's decoding and numpy's products.
    """
    with ThreadPoolExecutor(min(usable_cores(), ahead, _MOST_THREADS), thread_name_prefix="map") as pool:
        yield from _in_order(lambda value: pool.submit(function, value), inputs, ahead)


def map_blocks(function: Callable[[Input], Result], blocks: Sequence[Input]) -> Iterator[Result]:
    """Yield `function(block)` for each block of a matrix, computed on all cores.

    Several blocks at a time multiply on one thread each: the threads of a BLAS or of torch would compete with ours for
    the cores.
    """
    threads = min(usable_cores(), len(blocks)) if len(blocks) > 1 else 1
    if threads < 2:
        yield from map(function, blocks)
        return
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  a single block needs no limit

    with threadpool_limits(1, user_api="blas"), _one_torch_thread():
        yield from map_in_threads(function, blocks, ahead=threads)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # of threads that start from here on, too
    try:
        yield
    finally:
        torch.set_num_threads(before)


def map_in_processes(function: Callable[[Input], Result], inputs: Iterable[Input], cores: int) -> Iterator[Result]:
    """Yield `function(input)` for each input, computed by this process and `cores` - 1 others.

    This process works from the start, so a short stream does not wait until the others are up. `function` must be
    importable by name. What it returns and raises is sent between processes and should be small: up to 64 results
    wait for a slow one before them.
    """
    if cores == 1:
        yield from map(function, inputs)
        return
    # loky, unlike the standard library's pool, needs no main guard in the caller's script.
    from loky import ProcessPoolExecutor  # noqa: PLC0415  0.4 s

    helpers = cores - 1
    # For processes that are started from here: a json.py of the user's in the current folder must not be imported.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        executor = ProcessPoolExecutor(helpers, timeout=10, initializer=follow_parent, initargs=(os.getpid(),))
        ready = executor.submit(os.getpid)
    except OSError as error:  # no shared memory or no temporary folder that can be written to
        _LOG.warning("working in one process, as no other can be started: %s", error)
        yield from map(function, inputs)
        return
    busy: list[Future[Result]] = []

    def start(value: Input) -> Future[Result]:
        busy[:] = [future for future in busy if not future.done()]
        if ready.done() and len(busy) < 2 * helpers:
            busy.append(executor.submit(function, value))
            return busy[-1]
        here: Future[Result] = Future()
        here.set_result(function(value))
        return here

    try:
        yield from _in_order(start, inputs, _LONGEST_QUEUE)
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _in_order(start: Callable[[Input], Future[Result]], inputs: Iterable[Input], ahead: int) -> Iterator[Result]:
    """Yield the results of what `start` begins, in order; keep `ahead` of them begun."""
    begun: deque[Future[Result]] = deque()
    try:
        for value in inputs:
            begun.append(start(value))
            if len(begun) > ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()


def follow_parent(parent: int) -> None:
    """Leave Ctrl-C to the parent, and exit when it is gone: killed, it cannot stop its helpers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
