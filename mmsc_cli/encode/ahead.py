"""Work done in threads ahead of who needs it, in order and never far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from mmsc_cli.cores import usable_cores

Input = TypeVar("Input")
Result = TypeVar("Result")
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
