from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mmsc_cli.runtime.parallel import map_in_order


def _slow_at_first(number: int) -> tuple[int, int]:
    time.sleep(0.03 if number < 40 else 0)
    return number, os.getpid()


def _refuse(number: int) -> int:
    if number == 7:
        raise LookupError(number, "is no good")
    return number


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_results_come_in_the_order_of_the_inputs(cores: int) -> None:
    found = list(map_in_order(_slow_at_first, range(120), cores))
    assert [number for number, _ in found] == list(range(120))
    assert (len({process for _, process in found}) > 1) == (cores > 1)


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_arrives_as_it_was_raised(cores: int) -> None:
    with pytest.raises(LookupError) as caught:
        list(map_in_order(_refuse, range(50), cores))
    assert caught.value.args == (7, "is no good")


SCRIPT = """
import os, time
from mmsc_cli.runtime.parallel import map_in_order

def work(number):
    time.sleep(0.05)
    return os.getpid()

for worker in map_in_order(work, range(10_000), 2):
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
    results = map_in_order(_slow_at_first, inputs, 2)
    next(results)
    assert next(inputs) < 200
    results.close()  # type: ignore[attr-defined]
