"""A training that is killed goes on where it was, and does not begin anew."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.faults.kill import contents
from mmsc_cli.workspace.workspace import Workspace

EPOCHS = 80
OPTIONS = ("--epochs", str(EPOCHS), "--set", f"train.patience={EPOCHS}", "--device", "cpu")


def _start(workspace: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mmsc_cli", "train", "-w", str(workspace), *OPTIONS]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def _wait_for_epochs(workspace: Path, process: subprocess.Popen[str], epochs: int) -> None:
    """Until so many epochs are saved."""
    figures = workspace / "training" / "metrics.jsonl"
    while process.poll() is None:
        if figures.exists() and figures.read_bytes().count(b"\n") >= epochs:
            return
        time.sleep(0.005)
    raise AssertionError(f"training ended by itself: {process.stderr.read() if process.stderr else ''}")


@pytest.mark.slow
def test_killed_and_run_again_it_goes_on_where_it_was(golden: Workspace, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(golden.root, tmp_path / "whole"))
    uninterrupted, process = _start(whole), _start(golden.root)
    _wait_for_epochs(golden.root, process, 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    last = _start(golden.root)
    _, said = last.communicate()
    assert last.returncode == 0, said
    assert "training continues in epoch" in said
    uninterrupted.communicate()
    assert contents(golden.root) == contents(whole)
    assert len(golden.path("model/metrics.jsonl").read_text().splitlines()) == EPOCHS
    assert not golden.path("training").exists()
