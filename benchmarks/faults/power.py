"""The power is cut: what of a stage was not synced is gone. As a Markdown table.

python -m benchmarks.faults power              on a file system (ext4) of its own, on a loop device; needs root
python -m benchmarks.faults power --shim       on a model of a disk, without root: only what was synced stays

The file system is cut by a copy of what lies behind its device, which is then mounted elsewhere and repaired from its
journal as after a power cut. Each stage is cut when it has just said that it succeeded, and at calls in the midst of
it. The model is harder than any file system: a file holds what it held when it was last synced, and a folder the names
that it had when it was last synced.
"""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.faults.commit import contents, expected, prepare_for, run_stage
from benchmarks.faults.report import finish
from mmsc_cli.errors import MmscError
from mmsc_cli.workspace.stages import STAGES, Stage
from mmsc_cli.workspace.workspace import Workspace

_SIZE = 64 << 20
Cut = Callable[[], Path]


def main(arguments: Sequence[str]) -> None:
    """Cut every stage and write a table to stdout; exit with 1 where something is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shim", action="store_true", help="the model instead of a file system")
    parser.add_argument("--every", type=int, default=1, help="in the midst of a stage, cut every n-th call")
    given = parser.parse_args(arguments)
    rows, faults = [], []
    for stage in STAGES:
        for state in ("new", "over the old"):
            cuts = 0
            with tempfile.TemporaryDirectory() as name, (modelled if given.shim else mounted)(Path(name)) as disk:
                lost = list(cut_stage(*disk, stage, again=state != "new", every=given.every))
            cuts = len(lost)
            wrong = [fault for fault in lost if fault]
            rows.append([stage, state, str(cuts), f"{cuts - len(wrong)} of {cuts}"])
            faults += [f"{stage}, {state}: {fault}" for fault in wrong]
            sys.stderr.write(" | ".join(rows[-1]) + "\n")
    finish(["stage", "artefacts", "cuts", "old or new, and whole"], rows, faults)


def cut_stage(root: Path, cut: Cut, stage: Stage, *, again: bool, every: int = 1) -> Iterator[str]:
    """Cut a stage at its calls and after its end; yield what is wrong after each cut, "" where nothing is.

    Args:
        root: where the workspace is, on the disk.
        cut: returns where the workspace is after a cut.
        stage: which.
        again: over what it made before.
        every: cut at every n-th call.
    """
    prepare_for(root, stage)
    if again:
        run_stage(root, stage, "old")
    before = contents(root, stage)
    seen: list[str] = []
    calls, one_at_a_time = 0, threading.RLock()
    real = os.rename, os.replace, os.fsync

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def cutting(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            with one_at_a_time:  # files are synced in threads
                calls += 1
                if calls % every == 0:
                    seen.append(_lost(cut(), stage, before, "new", must_be_new=False))
                return call(*arguments, **named)

        return cutting

    os.rename, os.replace, os.fsync = (watched(call) for call in real)
    try:
        run_stage(root, stage, "new")
    finally:
        os.rename, os.replace, os.fsync = real
    yield from seen
    yield _lost(cut(), stage, before, "new", must_be_new=True)


def _lost(root: Path, stage: Stage, before: dict[str, str], new: str, *, must_be_new: bool) -> str:
    """What is not as promised in a workspace after a cut."""
    workspace = Workspace(root)
    try:
        recorded = workspace.manifest().stages
        for done in recorded:
            for damage in workspace.find_damage(done).values():
                return damage.message
    except MmscError as error:
        return error.message
    if must_be_new:
        return "" if contents(root, stage) == expected(stage, new) and stage in recorded else "it is not there"
    if stage in recorded and contents(root, stage) not in (before, expected(stage, new)):
        return "it is neither the old one nor the new one"
    return ""


@contextmanager
def mounted(folder: Path) -> Iterator[tuple[Path, Cut]]:
    """A file system on a loop device, and how it is cut."""
    image, disk, copy, after = (folder / name for name in ("image", "disk", "copy", "after"))
    with image.open("wb") as file:
        file.truncate(_SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    disk.mkdir()
    after.mkdir()

    def cut() -> Path:
        with suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", str(after)], check=True, capture_output=True)
        subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
        _mount(copy, after)
        return after / "space"

    _mount(image, disk)
    try:
        yield disk / "space", cut
    finally:
        for place in (after, disk):
            subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)


def _mount(image: Path, folder: Path) -> None:
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True, capture_output=True)


@contextmanager
def modelled(folder: Path) -> Iterator[tuple[Path, Cut]]:
    """A disk that keeps only what was synced, and how it is cut."""
    root, after = folder / "disk", folder / "after"
    root.mkdir()
    files: dict[int, bytes] = {}
    names: dict[int, list[tuple[str, int, bool]]] = {}  # by folder: name, inode, and whether that is a folder
    real = os.fsync

    def sync(fd: Any) -> None:
        real(fd)
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(fd) as entries:
                names[status.st_ino] = [
                    (entry.name, entry.inode(), entry.is_dir(follow_symlinks=False)) for entry in entries
                ]
        else:
            files[status.st_ino] = Path(f"/proc/self/fd/{fd}").read_bytes()

    def write(number: int, path: Path) -> None:
        path.mkdir()
        for name, inner, is_folder in names.get(number, []):
            if is_folder:
                write(inner, path / name)
            else:
                (path / name).write_bytes(files.get(inner, b""))  # of what was never synced the name alone

    def cut() -> Path:
        shutil.rmtree(after, ignore_errors=True)
        write(root.stat().st_ino, after)
        return after / "space"

    os.fsync = sync
    try:
        yield root / "space", cut
    finally:
        os.fsync = real
