"""What a command does not need, it does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmsc_cli.workspace.workspace import Workspace

HEAVY = ("torch", "torch_geometric", "open_clip", "pandas", "sklearn", "scipy", "pyarrow", "matplotlib", "PIL", "rich")
DRIVER = """
import sys
from mmsc_cli.cli.app import run_command
code = run_command(sys.argv[1:])
sys.stderr.write("imported: " + " ".join(sorted({name.partition(".")[0] for name in sys.modules})))
sys.exit(code)
"""


def _imported(*arguments: str) -> set[str]:
    ran = subprocess.run([sys.executable, "-c", DRIVER, *arguments], capture_output=True, text=True, check=True)
    return set(ran.stderr.rpartition("imported: ")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["infer", "--help"], ["--version"], ["recipes", "list"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert _imported(*arguments).isdisjoint({*HEAVY, "numpy"})


def test_infer_imports_nothing_heavy(trained: Workspace, item_ids: list[str]) -> None:
    arguments = ["infer", "-w", str(trained.root), "--item", item_ids[0], "--relation", "both"]

    assert _imported(*arguments).isdisjoint(HEAVY)
    assert _imported(*arguments, "--json").isdisjoint(HEAVY)
