"""A power cut: the short form of `python -m benchmarks.faults power`, and of `commit` for kills at any call."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults.commit import kill_at_every_call
from benchmarks.faults.power import cut_stage, modelled, mounted
from mmsc_cli.workspace import workspace as workspace_module
from mmsc_cli.workspace.stages import STAGES, Stage
from tests.faults.small_disk import may_mount


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_what_was_synced_is_the_old_or_the_new_whenever_the_power_is_cut(
    tmp_path: Path, stage: Stage, again: bool
) -> None:
    with modelled(tmp_path) as (root, cut):
        lost = list(cut_stage(root, cut, stage, again=again, every=3))
    assert len(lost) > 3
    assert set(lost) == {""}


def test_what_is_not_synced_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace_module, "settle", lambda path: None)
    with modelled(tmp_path) as (root, cut):
        *_, last = cut_stage(root, cut, "prepare", again=False)
    assert "damaged" in last or "gone" in last


@pytest.mark.slow
@pytest.mark.skipif(not may_mount(), reason="may not mount a file system (needs root and loop devices)")
@pytest.mark.parametrize("stage", ["prepare", "train"])
def test_a_file_system_that_is_cut_at_the_end_of_a_stage_holds_the_new(tmp_path: Path, stage: Stage) -> None:
    with mounted(tmp_path) as (root, cut):
        lost = list(cut_stage(root, cut, stage, again=True, every=1_000))
    assert lost == [""]


@pytest.mark.parametrize("stage", ["prepare", "train"])
def test_killed_at_any_call_of_a_commit_nothing_is_lost(tmp_path: Path, stage: Stage) -> None:
    tally = kill_at_every_call(tmp_path / "space", stage, again=True, every=5)
    assert tally.kills > 5
    assert tally.faults == []
