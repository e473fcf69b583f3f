"""SIGKILL and SIGINT at random moments: the short form of `python -m benchmarks.faults kill`."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults.answering_server import AnsweringServer
from benchmarks.faults.kill import (
    COMMANDS,
    SETTINGS,
    Tally,
    kill_in_a_row,
    not_told,
    run_undisturbed,
    spread_moments,
    take_interrupts,
)
from mmsc_cli.workspace.workspace import Workspace

SIGNALS = [signal.SIGKILL, signal.SIGINT]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make_shop` makes, in this process."""
    import torch

    from mmsc_cli.pipeline import Computing, run_all
    from mmsc_cli.recipe.loading import load_recipe

    folder = tmp_path_factory.mktemp("kill") / "shop"
    run_all(
        Workspace(folder),
        load_recipe("demo", SETTINGS),
        inputs=[],
        recipe_directory=Path(),
        label=True,
        computing=Computing(lambda: torch.device("cpu")),
    )
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[AnsweringServer]:
    with AnsweringServer() as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_and_interrupted_nothing_is_lost_and_it_ends_the_same(
    command: str, shop: Path, server: AnsweringServer, tmp_path: Path
) -> None:
    undisturbed = run_undisturbed(command, shop, tmp_path / "undisturbed", server.url)
    tally = Tally()
    moments = spread_moments(3, f"1 {command}")
    kill_in_a_row(undisturbed, SIGNALS, moments, tmp_path / "victim", tally)
    assert tally.faults == []
    assert tally.identical == tally.finished == 1


@pytest.mark.parametrize(
    "words", ["train --seed 3 --set 'train.epochs=2'", "infer --item A --relation both", "--version"]
)
def test_an_interrupt_during_the_imports_names_the_command(words: str, tmp_path: Path) -> None:
    """As early as can be: the first import of ours is where it comes."""
    script = "import signal, sys; sys.argv = ['mmsc', *sys.argv[1:]]\n"
    script += "class Interrupting:\n"
    script += "    def find_spec(self, name, path=None, target=None):\n"
    script += "        if name == 'mmsc_cli.cli.app': signal.raise_signal(signal.SIGINT)\n"
    script += "sys.meta_path.insert(0, Interrupting())\n"
    script += "from mmsc_cli.__main__ import main; main()\n"
    typed = [*shlex.split(words), "-w", str(tmp_path / "my shop")]
    take_interrupts()
    ran = subprocess.run([sys.executable, "-c", script, *typed], capture_output=True, text=True, check=False)
    assert ran.stdout == ""
    assert not_told(ran.returncode, ran.stderr, typed) == []


FAKE_PYTHON = """#!/bin/sh
# A vLLM that never comes up: asked what it can do it says so, started it sleeps.
case "$*" in
*vllm.entrypoints*) echo $$ > "$0.pid"; exec sleep 600 ;;
*) cat > /dev/null; exit 1 ;;
esac
"""


def test_an_interrupt_while_the_language_models_server_starts(golden: Workspace, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    typed = ["label", "--model", "some/model", "--budget", "9", "-q", "-w", str(golden.root)]
    take_interrupts()
    process = subprocess.Popen(
        [sys.executable, "-m", "mmsc_cli", *typed],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"MMSC_VLLM_PYTHON": str(python)},
    )
    pid = Path(f"{python}.pid")
    while not (pid.exists() and pid.read_text().strip()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    before = golden.path("labels.parquet").read_bytes()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert not_told(process.returncode, said, typed) == []
    assert not Path(f"/proc/{int(pid.read_text())}").exists(), "the server is gone"
    assert golden.path("labels.parquet").read_bytes() == before
    shutil.rmtree(golden.path("answers"))


def test_a_signal_after_the_end_changes_nothing(golden: Workspace) -> None:
    script = "import atexit, signal, sys; sys.argv = ['mmsc', *sys.argv[1:]]\n"
    script += "atexit.register(signal.raise_signal, signal.SIGINT)\n"
    script += "from mmsc_cli.__main__ import main; main()\n"
    typed = ["infer", "--item", "G000", "-q", "-w", str(golden.root)]
    ran = subprocess.run([sys.executable, "-c", script, *typed], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout
