"""All stages of a workspace, one after the other."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsc_cli.encode.stage import run_encode
from mmsc_cli.evaluate.stage import run_evaluate
from mmsc_cli.index.index_file import Index
from mmsc_cli.label.stage import run_label
from mmsc_cli.model.parts import Part
from mmsc_cli.prepare.stage import prepare, prepare_config
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.settings import still_known
from mmsc_cli.train.inputs import Plan
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.stage import run_train
from mmsc_cli.train.train import train
from mmsc_cli.workspace.config import current_labels, stage_config
from mmsc_cli.workspace.manifest import StageRecord
from mmsc_cli.workspace.stages import Stage
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mmsc_cli.runtime.machine.device import DeviceChooser

_LOG = logging.getLogger(__name__)


def retrain(
    workspace: Workspace,
    training: StageRecord,
    folder: Path,
    without: Sequence[Part],
    seed: int,
    device: DeviceChooser,
    progress: Progress = SILENT,
) -> Index:
    """Train again as `training` says, but from `seed` and without some parts; keep the judged index, in `folder`."""
    settings = TrainSettings.model_validate(still_known(training.config["train"], TrainSettings))
    plan = Plan(seed, [*training.config["without"], *without], current_labels(workspace, training.inputs), serve=False)
    train(workspace, settings, plan, folder, device(), None, progress)
    shutil.rmtree(folder / "model")
    return Index.open(folder / "judged")


def label_in_rounds(
    workspace: Workspace,
    recipe: Recipe,
    endpoints: Sequence[str],
    device: DeviceChooser,
    progress: Progress = SILENT,
    *,
    gold: Path | None = None,
) -> dict[str, Any]:
    """Run `label` as often as `label.rounds` says, and `train` in between, so that later rounds know what is shown.

    Returns:
        The counts of the last round.
    """
    rounds = recipe.label.rounds
    for turn in range(1, rounds + 1):
        if turn > 1:
            _LOG.info("train: running, to see what the next round asks about")
            run_train(workspace, recipe, [], device, progress)
        if rounds > 1:
            _LOG.info("label: round %d of %d", turn, rounds)
        counts = run_label(workspace, recipe, endpoints, progress, gold=gold, turn=turn)
    return counts


def run_all(
    workspace: Workspace,
    recipe: Recipe,
    *,
    inputs: Sequence[Path],
    recipe_directory: Path,
    label: bool,
    device: DeviceChooser,
    progress: Progress = SILENT,
) -> dict[str, str]:
    """Run every stage that is not up to date.

    Returns:
        Per stage `done` or `up to date`.
    """

    prepared = prepare_config(recipe, inputs, recipe_directory)

    def run_prepare() -> dict[str, Any]:
        return prepare(
            workspace, recipe, inputs=inputs, recipe_directory=recipe_directory, config=prepared, progress=progress
        )

    stages: dict[Stage, tuple[dict[str, Any], Callable[[], Any]]] = {
        "prepare": (prepared, run_prepare),
        "encode": (stage_config("encode", recipe), lambda: run_encode(workspace, recipe, device, progress)),
        "label": (stage_config("label", recipe), lambda: label_in_rounds(workspace, recipe, [], device, progress)),
        "train": (
            stage_config("train", recipe) | {"without": []},
            lambda: run_train(workspace, recipe, [], device, progress),
        ),
        "evaluate": (
            stage_config("evaluate", recipe) | {"ablate": [], "seeds": 1},
            lambda: run_evaluate(
                workspace, recipe, retrain, parts=[], seeds=1, report=None, device=device, progress=progress
            ),
        ),
    }
    if not label:
        del stages["label"]
    done: dict[str, str] = {}
    for name, (config, run) in stages.items():
        current = workspace.is_current(name, config, recipe.outcome)
        done[name] = "up to date" if current else "done"
        if current:
            # Later stages read the whole recipe from the record of `prepare`, also what `prepare` itself ignores.
            workspace.amend(name, config)
            _LOG.info("%s: up to date", name)
            continue
        _LOG.info("%s: running", name)
        started = time.monotonic()
        run()
        _LOG.info("%s: done (%.1f s)", name, time.monotonic() - started)
    return done
