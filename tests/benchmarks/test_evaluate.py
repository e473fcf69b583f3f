from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.evaluate import make_workspace
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc


def test_a_made_up_workspace_can_be_judged(mmsc: Mmsc, tmp_path: Path) -> None:
    make_workspace(Workspace(tmp_path), 2_000)
    ran = mmsc("evaluate", "--json", "-q", "-w", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)["models"]["mmsc"]["complement"]
    assert found["all"]["queries"] > 0
    assert found["cold"]["queries"] > 0
