from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from mmsc_cli.errors import InputError, NotEnoughMemoryError
from mmsc_cli.runtime.shares.processes import Processes
from mmsc_cli.runtime.shares.runner import OneShard, all_ran
from mmsc_cli.runtime.shares.shards import Shard


def write(folder: Path, shard: Shard) -> int:
    with (folder / "begun").open("a") as file:
        file.write(f"{shard.number} ")
    (folder / f"part-{shard.number}").write_text(str(shard))
    return os.getpid()


def killed_the_first_time(folder: Path, shard: Shard) -> int:
    flag = folder / f"killed-{shard.number}"
    if shard.number == 2 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return write(folder, shard)


def always_killed(shard: Shard) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(shard: Shard) -> None:
    if shard.number == 2:
        raise InputError("no such thing", hint="give another")
    time.sleep(60)


def test_every_share_runs_once_in_a_process_of_its_own(tmp_path: Path) -> None:
    results = Processes(3).run(partial(write, tmp_path))
    assert list(results) == Shard(1, 3).siblings()
    assert len({os.getpid(), *results.values()}) == 4
    assert all_ran(results)
    assert sorted((tmp_path / "begun").read_text().split()) == ["1", "2", "3"]


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    results = Processes(2).run(partial(killed_the_first_time, tmp_path))
    assert list(results) == Shard(1, 2).siblings()
    assert (tmp_path / "killed-2").exists()
    assert [(tmp_path / f"part-{number}").read_text() for number in (1, 2)] == ["1/2", "2/2"]


def test_a_worker_that_is_always_killed_ends_the_work() -> None:
    with pytest.raises(NotEnoughMemoryError, match="killed 4 times") as caught:
        Processes(2).run(always_killed)
    assert "--workers 1" in (caught.value.hint or "")


def test_an_error_ends_the_others_and_keeps_its_hint() -> None:
    with pytest.raises(InputError, match="no such thing") as caught:
        Processes(2).run(refuse)
    assert caught.value.hint == "give another"


def test_one_shard_is_not_all(tmp_path: Path) -> None:
    results = OneShard(Shard(2, 3)).run(partial(write, tmp_path))
    assert results == {Shard(2, 3): os.getpid()}
    assert not all_ran(results)


SLEEPERS = """
import os, sys, time
from mmsc_cli.runtime.shares.processes import Processes

def sleep(shard):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(600)

Processes(2).run(sleep)
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(ending: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", SLEEPERS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    workers = [psutil.Process(int(parent.stdout.readline())) for _ in range(2)]
    parent.send_signal(ending)
    assert parent.wait(60) != 0
    assert psutil.wait_procs(workers, 60)[1] == []


def test_a_module_of_the_current_folder_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('mine')")
    script = tmp_path / "elsewhere.py"
    script.write_text(
        "from mmsc_cli.runtime.shares.processes import Processes\n"
        "def number(shard):\n    import json\n    return shard.number, json.dumps([])\n"
        "print(list(Processes(2).run(number).values()))"
    )
    ran = subprocess.run([sys.executable, "-P", str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "[(1, '[]'), (2, '[]')]"
