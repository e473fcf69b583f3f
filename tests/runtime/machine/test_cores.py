"""A container's CPU quota decides how many threads start, read from files as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmsc_cli.runtime.machine import cores
from mmsc_cli.runtime.machine.cores import limit_threads, usable_cores


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 cores and no control groups."""
    monkeypatch.setattr(cores, "_affinity", lambda: 64)
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_a_quota_every_core_is_used(machine: Path) -> None:
    assert usable_cores(machine) == 64


@pytest.mark.parametrize(("written", "expected"), [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 2)])
def test_the_quota_of_a_container(machine: Path, written: str, expected: int) -> None:
    _write(machine / "proc/self/cgroup", "0::/docker/0123abcd\n")
    _write(machine / "sys/fs/cgroup/cpu.max", f"{written}\n")

    assert usable_cores(machine) == expected


def test_the_tightest_of_nested_groups_counts_and_a_hundredth_of_a_core_is_one(machine: Path) -> None:
    _write(machine / "proc/self/cgroup", "0::/shop/night\n")
    _write(machine / "sys/fs/cgroup/shop/night/cpu.max", "max 100000\n")
    _write(machine / "sys/fs/cgroup/shop/cpu.max", "400000 100000\n")
    assert usable_cores(machine) == 4

    _write(machine / "sys/fs/cgroup/shop/night/cpu.max", "1000 100000\n")
    assert usable_cores(machine) == 1


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_the_first_version_of_control_groups(machine: Path, mount: str) -> None:
    _write(machine / "proc/self/cgroup", "4:memory:/job\n7:cpu,cpuacct:/job\n")
    group = machine / "sys/fs/cgroup" / mount
    for folder, quota in ((group / "job", 300_000), (group, -1)):
        _write(folder / "cpu.cfs_quota_us", f"{quota}\n")
        _write(folder / "cpu.cfs_period_us", "100000\n")

    assert usable_cores(machine) == 3


def test_cores_that_it_may_not_run_on_do_not_count(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(machine / "proc/self/cgroup", "0::/\n")
    _write(machine / "sys/fs/cgroup/cpu.max", "800000 100000\n")
    monkeypatch.setattr(cores, "_affinity", lambda: 5)

    assert usable_cores(machine) == 5


def test_damaged_files_are_no_quota(machine: Path) -> None:
    _write(machine / "proc/self/cgroup", "nonsense\n0::/\n")
    _write(machine / "sys/fs/cgroup/cpu.max", "\n")

    assert usable_cores(machine) == 64


@pytest.mark.parametrize(("usable", "expected"), [(2, ("2", "7")), (64, (None, "7"))])
def test_libraries_are_held_to_the_quota_but_not_against_the_user(
    monkeypatch: pytest.MonkeyPatch, usable: int, expected: tuple[str | None, str]
) -> None:
    monkeypatch.setattr(cores, "_affinity", lambda: 64)
    monkeypatch.setattr(cores, "usable_cores", lambda: usable)
    monkeypatch.setattr(os, "environ", {"MKL_NUM_THREADS": "7"})
    limit_threads()

    assert (os.environ.get("OMP_NUM_THREADS"), os.environ["MKL_NUM_THREADS"]) == expected
