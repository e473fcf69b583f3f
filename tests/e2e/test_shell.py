"""Runs the shell pipelines of this folder as a user would type them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmsc_cli.workspace.workspace import Workspace

HERE = Path(__file__).parent
SHARED_DATA = Path(os.environ.get("MMSC_TEST_DATA", HERE.parents[2] / "shared" / "data"))
BEAUTY = SHARED_DATA / "meta_Beauty_5core.json.gz"
Shell = Callable[..., None]

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Run a script in an empty folder, with `mmsc` on the path."""
    wrapper = tmp_path / "bin" / "mmsc"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mmsc_cli "$@"\n')
    wrapper.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()

    def run(script: str, *arguments: object, workspace: Workspace | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MMSC_")}
        environment["PATH"] = f"{wrapper.parent}:{environment['PATH']}"
        if workspace:
            environment["MMSC_WORKSPACE"] = str(workspace.root)
        command = ["bash", "-euxo", "pipefail", str(HERE / script), *map(str, arguments)]
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{script} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}"

    return run


@needs_jq
def test_stages(shell: Shell) -> None:
    shell("stages.sh")


@needs_jq
def test_questions(shell: Shell, trained: Workspace, item_ids: list[str]) -> None:
    shell("questions.sh", item_ids[0], workspace=trained)


@needs_jq
def test_rerun(shell: Shell) -> None:
    shell("rerun.sh")


@needs_jq
@pytest.mark.slow
def test_ablation(shell: Shell, trained_copy: Workspace) -> None:
    shell("ablation.sh", workspace=trained_copy)


@pytest.mark.real_data
@pytest.mark.skipif(not BEAUTY.exists(), reason="the Amazon Beauty file is not here")
def test_real_data_is_read_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mmsc_cli", "prepare", "amazon-beauty", "--input", str(BEAUTY), "--json", "-q"]
    ran = subprocess.run([*command, "-w", str(tmp_path / "w")], capture_output=True, text=True, check=True)

    counts = json.loads(ran.stdout)["counts"]
    assert ran.stderr == ""
    assert counts["items"] == 12_101
    assert counts["co_view_pairs"] > 10_000
    assert counts["co_purchase_pairs"] > 10_000
