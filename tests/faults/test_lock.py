"""Two at once: the second is refused; a lock of a killed process holds nobody up."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.workspace.lock import locked
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc


@pytest.mark.parametrize(
    "command", ["prepare demo", "label", "encode", "encode --shard 1/2", "train", "evaluate", "run demo"]
)
def test_a_second_process_is_refused(mmsc: Mmsc, golden: Workspace, command: str) -> None:
    before = golden.path("manifest.json").read_bytes()
    with locked(golden.root):
        ran = mmsc(*command.split(), "-w", golden.root, "-q")
    assert (ran.code, ran.out) == (2, "")
    first, hint = ran.err.splitlines()
    assert first == f"mmsc: another mmsc process is using {golden.root}"
    assert "-w DIR" in hint
    assert golden.path("manifest.json").read_bytes() == before


def test_asking_needs_no_lock(mmsc: Mmsc, golden: Workspace) -> None:
    with locked(golden.root):
        assert mmsc("infer", "--item", "G000", "-w", golden.root, "-q").code == 0


HOLD = """
import pathlib, sys, time
from mmsc_cli.workspace.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_of_a_killed_process_holds_nobody_up(mmsc: Mmsc, golden: Workspace) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(golden.root)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert mmsc("label", "-w", golden.root, "-q").code == 2
        holder.kill()
    assert mmsc("label", "-w", golden.root, "-q").code == 0


@pytest.mark.parametrize("left", ["", "nonsense", "pid x, since y", "pid 7, since 2026-01-01", "\x00" * 50])
def test_whatever_a_lock_says_its_holder_is_respected(mmsc: Mmsc, golden: Workspace, left: str) -> None:
    with locked(golden.root):
        golden.path(".lock").write_text(left)
        assert mmsc("label", "-w", golden.root, "-q").code == 2
    golden.path(".lock").write_text(left)
    assert mmsc("label", "-w", golden.root, "-q").code == 0


def test_those_who_share_exclude_the_others_until_the_last_has_gone(golden: Workspace) -> None:
    first, second = locked(golden.root, shared=True), locked(golden.root, shared=True)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with pytest.raises(WorkspaceError, match="is using"), locked(golden.root):
        pass
    second.__exit__(None, None, None)
    with locked(golden.root):
        pass
