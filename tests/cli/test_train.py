from __future__ import annotations

from typing import TYPE_CHECKING

from mmsc_cli.runtime.checkpoint import Checkpoints
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc


def leave_checkpoint_of_another_run(workspace: Workspace) -> None:
    Checkpoints(workspace.path("training"), {"settings": {"seed": 7}}).save({"epoch": 1})


def test_a_checkpoint_that_does_not_fit_is_an_error_where_it_must_be_continued(
    mmsc: Mmsc, trained_copy: Workspace
) -> None:
    leave_checkpoint_of_another_run(trained_copy)
    ran = mmsc("train", "--resume", "-w", trained_copy.root)
    assert ran.code == 2
    assert "of a run with another" in ran.err
    assert "settings.seed" in ran.err
    assert "--no-resume" in ran.err
    assert trained_copy.path("training").exists()
    assert "train" in trained_copy.manifest().stages


def test_a_checkpoint_that_does_not_fit_is_named_and_left_behind(mmsc: Mmsc, trained_copy: Workspace) -> None:
    leave_checkpoint_of_another_run(trained_copy)
    ran = mmsc("train", "--epochs", "1", "--set", "train.dim=16", "-w", trained_copy.root)
    assert ran.code == 0
    assert "training starts over" in ran.err
    assert not trained_copy.path("training").exists()


def test_no_resume_asks_nothing(mmsc: Mmsc, trained_copy: Workspace) -> None:
    leave_checkpoint_of_another_run(trained_copy)
    ran = mmsc("train", "--no-resume", "--epochs", "1", "--set", "train.dim=16", "-w", trained_copy.root)
    assert ran.code == 0
    assert "checkpoint" not in ran.err
