"""How much memory there is, read from what the system says, and what running out of it looks like."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mmsc_cli.runtime.machine.memory import available_memory, is_out_of_memory

MIB = 1 << 20


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with 8 GiB free and no control groups."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n")
    return tmp_path


def _group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def test_without_limits_it_is_what_the_machine_has_free(machine: Path) -> None:
    assert available_memory(machine) == 8 << 30


def test_a_control_group_leaves_its_limit_less_what_is_used_but_for_cached_files(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/shop/night\n")
    stat = f"anon {300 * MIB}\ninactive_file {100 * MIB}\n"
    _group(
        machine / "sys/fs/cgroup/shop/night",
        memory__max=f"{1024 * MIB}",
        memory__current=f"{400 * MIB}",
        memory__stat=stat,
    )

    assert available_memory(machine) == (1024 - 400 + 100) * MIB


def test_the_tightest_of_nested_groups_counts(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/shop/night\n")
    _group(machine / "sys/fs/cgroup/shop/night", memory__max="max\n", memory__current="0")
    _group(machine / "sys/fs/cgroup/shop", memory__max=f"{512 * MIB}", memory__current=f"{112 * MIB}")

    assert available_memory(machine) == 400 * MIB


def test_a_container_sees_its_group_at_the_mount_whatever_its_name_outside(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/docker/0123abcd\n")
    _group(machine / "sys/fs/cgroup", memory__max=f"{256 * MIB}", memory__current=f"{56 * MIB}")

    assert available_memory(machine) == 200 * MIB


def test_the_first_version_of_control_groups(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("7:cpu,cpuacct:/\n4:memory:/job\n")
    _group(
        machine / "sys/fs/cgroup/memory/job",
        memory__limit_in_bytes=f"{300 * MIB}",
        memory__usage_in_bytes=f"{100 * MIB}",
    )
    _group(machine / "sys/fs/cgroup/memory", memory__limit_in_bytes=str(2**63 - 4096), memory__usage_in_bytes="0")

    assert available_memory(machine) == 200 * MIB


def test_an_exhausted_group_leaves_nothing(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/\n")
    _group(machine / "sys/fs/cgroup", memory__max=f"{100 * MIB}", memory__current=f"{101 * MIB}")

    assert available_memory(machine) == 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("A worker was terminated, by a segmentation fault or by an excessive memory usage"),
    ],
)
def test_each_library_says_it_in_its_own_words(error: BaseException) -> None:
    assert is_out_of_memory(error)

    wrapped = ValueError("the table cannot be read")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped)


@pytest.mark.parametrize(
    "error",
    [
        None,
        ValueError("out of memory"),
        RuntimeError("shapes differ"),
        ImportError("No module named 'torch'"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object: Operation not permitted"),
        OSError(2),
    ],
)
def test_other_errors_are_something_else(error: BaseException | None) -> None:
    assert not is_out_of_memory(error)
