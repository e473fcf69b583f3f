"""SIGKILL before every call to the system that a stage's commit makes, once each, as a Markdown table.

python -m benchmarks.faults commit                every stage, in a new workspace and over what it made before

The stages write made-up artefacts, so that the commit alone is tried: every call of Python's `os` by which a stage
makes, renames, removes, syncs or opens something, and the swap of two names. After each kill every artefact must be the
old or the new one, and all that the manifest lists must be as it says; then the same stage must finish, and nothing of
its own may be left over.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.report import finish
from mmsc_cli.workspace import workspace as workspace_module
from mmsc_cli.workspace.stages import STAGES, Stage
from mmsc_cli.workspace.workspace import Workspace

_FORK = multiprocessing.get_context("fork")
CALLS = ("open", "fsync", "rename", "replace", "unlink", "remove", "rmdir", "mkdir", "chmod", "scandir", "listdir")
_LONGEST = 60


@dataclass
class Tally:
    """What came of the kills of one stage."""

    kills: int = 0
    faults: list[str] = field(default_factory=list)


def main(arguments: Sequence[str]) -> None:
    """Kill every stage at every call and write a table to stdout; exit with 1 where something was not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="only every n-th call")
    given = parser.parse_args(arguments)
    rows, faults = [], []
    for stage in STAGES:
        for again in (False, True):
            with tempfile.TemporaryDirectory() as name:
                tally = kill_at_every_call(Path(name) / "space", stage, again=again, every=given.every)
            state = "over the old" if again else "new"
            whole = f"{tally.kills - len(tally.faults)} of {tally.kills}"
            rows.append([stage, state, str(tally.kills), whole])
            faults += [f"{stage}, {state}: {fault}" for fault in tally.faults]
            sys.stderr.write(" | ".join(rows[-1]) + "\n")
    finish(["stage", "artefacts", "kills", "whole, and finished afterwards"], rows, faults)


def kill_at_every_call(root: Path, stage: Stage, *, again: bool, every: int = 1) -> Tally:
    """Kill a stage before its 1st, 2nd, ... call, until a run survives."""
    tally = Tally()
    prepare_for(root, stage)
    if again:
        run_stage(root, stage, "old")
    moment = 1
    while True:
        before = contents(root, stage)
        if _killed(root, stage, f"killed {moment}", moment):
            return tally
        tally.kills += 1
        tally.faults += [f"call {moment}: {fault}" for fault in broken(root, stage, before, f"killed {moment}")]
        if moment % 2 == 0:  # every other one is killed again before it may finish
            run_stage(root, stage, f"after {moment}")
            left = [path.name for path in (root / ".staging").iterdir()]
            if contents(root, stage) != expected(stage, f"after {moment}") or left or (root / "replaced").exists():
                tally.faults.append(f"call {moment}: the next run did not mend it")
        moment += every


def run_stage(root: Path, stage: Stage, content: str) -> None:
    """Run a stage that writes `content` into everything it makes."""
    with Workspace(root).stage(stage, {}) as run:
        for name in STAGES[stage].makes:
            if "." in name:
                run.path(name).write_text(content)
            else:
                (run.directory(name) / "file").write_text(content)


def prepare_for(root: Path, stage: Stage) -> None:
    """Run what a stage comes after."""
    for earlier in STAGES:
        if earlier == stage:
            return
        run_stage(root, earlier, earlier)


def contents(root: Path, stage: Stage) -> dict[str, str]:
    """What the artefacts of a stage hold."""
    paths = {name: root / name if "." in name else root / name / "file" for name in STAGES[stage].makes}
    return {name: path.read_text() for name, path in paths.items() if path.exists()}


def expected(stage: Stage, content: str) -> dict[str, str]:
    """The same of a stage that wrote `content`."""
    return dict.fromkeys(STAGES[stage].makes, content)


def broken(root: Path, stage: Stage, before: dict[str, str], new: str) -> Iterator[str]:
    """What is not as promised after a kill."""
    workspace = Workspace(root)
    for recorded in workspace.manifest().stages:
        yield from (damage.message for damage in workspace.find_damage(recorded).values())
    for name, found in contents(root, stage).items():
        if found not in (before.get(name), new):
            yield f"{name} is neither the old one nor the new one"
    for name in before:
        if name not in contents(root, stage) and stage in workspace.manifest().stages:
            yield f"{name} is gone"


def die_before_call(moment: int, calls: Sequence[str]) -> None:
    """Have this process kill itself before the n-th of these calls of `os`, and of the swap of two names, from now."""
    left = moment

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in calls:
        setattr(os, name, counted(getattr(os, name)))
    vars(workspace_module)["exchange"] = counted(vars(workspace_module)["exchange"])


def _killed(root: Path, stage: Stage, content: str, moment: int) -> bool:
    """Run a stage in a child that is killed before its n-th call; return whether it survived."""

    def run() -> None:
        die_before_call(moment, CALLS)
        run_stage(root, stage, content)

    child = _FORK.Process(target=run)
    child.start()
    child.join(_LONGEST)
    if child.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{stage}: a run ended with {child.exitcode}")
    return child.exitcode == 0
