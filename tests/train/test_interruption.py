"""A training that is killed, for real: the process ends at once, and another one goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmsc_cli.workspace import Workspace

OPTIONS = ("--set", "train.dim=16", "--epochs", "12", "--set", "train.patience=12", "--device", "cpu")


def start(workspace: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mmsc_cli", "train", "-w", str(workspace), *OPTIONS]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_for_epochs(workspace: Path, process: subprocess.Popen[str], epochs: int) -> None:
    """Until so many epochs are saved."""
    figures = workspace / "training" / "metrics.jsonl"
    while process.poll() is None:
        if figures.exists() and figures.read_bytes().count(b"\n") >= epochs:
            return
        time.sleep(0.005)
    raise AssertionError(f"training ended by itself: {process.stderr.read() if process.stderr else ''}")


def artefacts(workspace: Path) -> dict[str, bytes]:
    names = ["model/model.safetensors", "model/lendable.safetensors", "model/edges.parquet"]
    index = sorted(path.relative_to(workspace).as_posix() for path in (workspace / "index").rglob("*"))
    return {name: (workspace / name).read_bytes() for name in [*names, *index]}


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_killed_and_run_again_it_ends_the_same_to_the_byte(
    prepared: Workspace, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    whole, killed = (Path(shutil.copytree(prepared.root, tmp_path / name)) for name in ("whole", "killed"))
    uninterrupted = start(whole)
    for epochs in (1, 5):
        process = start(killed)
        wait_for_epochs(killed, process, epochs)
        process.send_signal(sent)
        _, said = process.communicate()
        assert process.returncode == code
        if sent == signal.SIGINT:
            assert "the same command continues: mmsc train" in said
        assert not (killed / "model").exists()
    last = start(killed)
    _, said = last.communicate()
    assert last.returncode == 0, said
    assert "training continues in epoch" in said
    uninterrupted.communicate()
    assert artefacts(killed) == artefacts(whole)
    assert len((killed / "model" / "metrics.jsonl").read_text().splitlines()) == 12
    assert not (killed / "training").exists()
