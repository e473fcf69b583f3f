from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from mmsc_cli.runtime import parallel
from mmsc_cli.runtime.parallel import map_blocks, map_in_processes, map_in_threads


def _slow(number: int) -> tuple[int, int]:
    time.sleep(0.03)
    return number, os.getpid()


def _refuse(number: int) -> int:
    if number == 7:
        raise LookupError(number, "is no good")
    return number


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_results_come_in_the_order_of_the_inputs(cores: int) -> None:
    numbers, processes = [], set()
    # On a busy machine another process may take a while to start.
    for number, process in map_in_processes(_slow, range(40 if cores == 1 else 4_000), cores):
        numbers.append(number)
        processes.add(process)
        if len(processes) > 1 and len(numbers) > 100:
            break

    assert numbers == list(range(len(numbers)))
    assert (len(processes) > 1) == (cores > 1)


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_arrives_as_it_was_raised(cores: int) -> None:
    with pytest.raises(LookupError) as caught:
        list(map_in_processes(_refuse, range(50), cores))
    assert caught.value.args == (7, "is no good")


SCRIPT = """
import os, time
from mmsc_cli.runtime.parallel import map_in_processes

def work(number):
    time.sleep(0.05)
    return os.getpid()

for worker in map_in_processes(work, range(10_000), 2):
    if worker != os.getpid():
        print(worker, flush=True)
"""


def test_no_process_outlives_a_killed_caller(tmp_path: Path) -> None:
    """The caller is a script without a main guard, too."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout
        worker = psutil.Process(int(caller.stdout.readline()))
        caller.kill()
    assert psutil.wait_procs([worker], timeout=20)[1] == []


def test_inputs_are_not_read_far_ahead() -> None:
    inputs = iter(range(10_000))
    results = map_in_processes(_slow, inputs, 2)
    next(results)
    assert next(inputs) < 200
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_are_computed_at_the_same_time_and_come_in_order(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(parallel, "usable_cores", lambda: workers)
    second = threading.Event()

    def slow_first(number: int) -> int:
        if number == 0 and workers > 1:
            assert second.wait(30), "the second block must not wait for the first"
        if number == 1:
            second.set()
        return number

    assert list(map_blocks(slow_first, range(20))) == list(range(20))


def test_blocks_multiply_on_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert list(map_blocks(lambda _: torch.get_num_threads(), range(4))) == [1] * 4
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("ahead", [1, 5])
def test_threads_start_inputs_ahead_of_their_turn(ahead: int) -> None:
    inputs = iter(range(50))
    results = map_in_threads(str, inputs, ahead)
    assert next(results) == "0"
    assert next(inputs) == ahead + 1
    assert list(results) == [str(number) for number in range(1, 50) if number != ahead + 1]
