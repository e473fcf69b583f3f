"""All stages of a workspace, one after the other.

A stage is imported when it runs: a night on which nothing changed costs no more than looking.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsc_cli.evaluate.settings import evaluate_config
from mmsc_cli.places.copies import Copies
from mmsc_cli.prepare.inputs import changed_pictures, local_files, prepare_config
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.settings import still_known
from mmsc_cli.workspace.config import current_labels, stage_config
from mmsc_cli.workspace.kept_digests import KeptDigests
from mmsc_cli.workspace.stages import Stage
from mmsc_cli.workspace.workspace import FIRST_TIME, Workspace

if TYPE_CHECKING:
    from mmsc_cli.evaluate.stage import OtherStages
    from mmsc_cli.index.index_file import Index
    from mmsc_cli.model.parts import Part
    from mmsc_cli.recipe.recipe import Recipe
    from mmsc_cli.runtime.machine.device import DeviceChooser
    from mmsc_cli.runtime.shares.runner import Runner
    from mmsc_cli.workspace.manifest import StageRecord

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
    from mmsc_cli.index.index_file import Index  # noqa: PLC0415  as the others
    from mmsc_cli.train.inputs import Plan  # noqa: PLC0415  brings torch
    from mmsc_cli.train.settings import TrainSettings  # noqa: PLC0415  as the others
    from mmsc_cli.train.train import train  # noqa: PLC0415  brings torch

    settings = TrainSettings.model_validate(still_known(training.config["train"], TrainSettings))
    plan = Plan(seed, [*training.config["without"], *without], current_labels(workspace, training.inputs), serve=False)
    train(workspace, settings, plan, folder, device(), None, progress)
    shutil.rmtree(folder / "model")
    return Index.open(folder / "judged")


def other_stages(rules: Path | None = None) -> OtherStages:
    """Build what `evaluate` needs of other stages; `rules`: a file of rules of the shop, None for the recipe's."""
    from mmsc_cli.diff.night import describe_night  # noqa: PLC0415  brings pyarrow
    from mmsc_cli.evaluate.stage import OtherStages  # noqa: PLC0415  brings scipy
    from mmsc_cli.infer.explain import reasons  # noqa: PLC0415  brings numpy

    return OtherStages(retrain, reasons, partial(describe_night, rules=rules))


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

    Rounds that an interrupted run has done are not done again.

    Returns:
        The counts of the last round.
    """
    from mmsc_cli.label.stage import run_label  # noqa: PLC0415  brings scikit-learn

    rounds = recipe.label.rounds
    for turn in range(_rounds_done(workspace, recipe) + 1, rounds + 1):
        if turn > 1:
            from mmsc_cli.train.stage import run_train  # noqa: PLC0415  brings scipy

            _LOG.info("train: running, to see what the next round asks about")
            run_train(workspace, recipe, [], device, progress)
        if rounds > 1:
            _LOG.info("label: round %d of %d", turn, rounds)
        counts = run_label(workspace, recipe, endpoints, progress, gold=gold, turn=turn)
    return counts


def _rounds_done(workspace: Workspace, recipe: Recipe) -> int:
    """The rounds of `label` that are done where more are to come, 0 where it starts anew."""
    if workspace.why_outdated("label", stage_config("label", recipe), recipe.outcome, glance=True) is not None:
        return 0
    rounds = recipe.label.rounds
    done: int = workspace.manifest().stages["label"].counts.get("round", rounds)
    return done if done < rounds else 0


def prepare_if_needed(
    workspace: Workspace,
    recipe: Recipe,
    *,
    inputs: Sequence[Path],
    recipe_directory: Path,
    copies: Copies | None = None,
    progress: Progress = SILENT,
) -> tuple[dict[str, Any], bool]:
    """Run `prepare` unless it is up to date; what it made is read to its end, and images that failed are tried again.

    Returns:
        Its counts, and whether it was up to date.
    """
    digests = KeptDigests(workspace.root)
    workspace.enter("prepare")
    copies = copies or Copies.of(workspace, progress)
    files = local_files(recipe, inputs, recipe_directory, copies)
    config = prepare_config(recipe, files, digests.digest)
    why = workspace.why_outdated("prepare", config, recipe.outcome)
    if why is None:
        why = changed_pictures(workspace, recipe, files, recipe_directory)
    counts: dict[str, Any] = {} if why else workspace.manifest().stages["prepare"].counts
    if why is None and recipe.images.download and counts.get("images_failed"):
        why = f"{counted(counts['images_failed'], 'image')} could not be fetched the last time"
    if why is None:
        workspace.amend("prepare", config)
    else:
        from mmsc_cli.prepare.stage import prepare  # noqa: PLC0415  brings duckdb and scipy

        if why != FIRST_TIME:
            _log_start("prepare", why)
        counts = prepare(
            workspace,
            recipe,
            inputs=inputs,
            recipe_directory=recipe_directory,
            config=config,
            progress=progress,
            copies=copies,
        )
    digests.save()
    return counts, why is None


@dataclass(frozen=True)
class Computing:
    """How a run computes.

    Attributes:
        device: chooses the device; with a runner, it is sent to other processes.
        progress: shows how far the work is.
        runner: works on the shares of stages that have some; None: this process does all.
    """

    device: DeviceChooser
    progress: Progress = SILENT
    runner: Runner | None = None


def run_all(
    workspace: Workspace,
    recipe: Recipe,
    *,
    inputs: Sequence[Path],
    recipe_directory: Path,
    label: bool,
    computing: Computing,
    copies: Copies | None = None,
) -> dict[Stage, str]:
    """Run every stage that is not up to date.

    Whether a stage is up to date, large files say by their size and time of change.

    Returns:
        Per stage `done` or `up to date`.
    """
    device, progress, runner = computing.device, computing.progress, computing.runner
    digests = KeptDigests(workspace.root)
    workspace.enter("prepare")
    copies = copies or Copies.of(workspace, progress)
    files = local_files(recipe, inputs, recipe_directory, copies)
    prepared = prepare_config(recipe, files, digests.digest)

    def run_prepare() -> None:
        from mmsc_cli.prepare.stage import prepare  # noqa: PLC0415  brings duckdb and scipy

        prepare(
            workspace,
            recipe,
            inputs=inputs,
            recipe_directory=recipe_directory,
            config=prepared,
            progress=progress,
            copies=copies,
        )

    def run_captions() -> None:
        from mmsc_cli.label.stage import run_captions  # noqa: PLC0415  brings scikit-learn

        run_captions(workspace, recipe, [], progress)

    def run_encode() -> None:
        from mmsc_cli.encode.stage import run_encode  # noqa: PLC0415  brings scikit-learn

        # What draws progress cannot be sent to other processes.
        run_encode(workspace, recipe, device, progress if runner is None else SILENT, runner)

    def run_label() -> None:
        label_in_rounds(workspace, recipe, [], device, progress)

    def run_train() -> None:
        from mmsc_cli.train.stage import run_train  # noqa: PLC0415  brings scipy

        run_train(workspace, recipe, [], device, progress)

    def run_evaluate() -> None:
        from mmsc_cli.evaluate.stage import run_evaluate  # noqa: PLC0415  brings scipy

        run_evaluate(
            workspace, recipe, other_stages(), parts=[], seeds=1, report=None, device=device, progress=progress
        )

    stages: dict[Stage, tuple[dict[str, Any], Callable[[], None]]] = {
        "prepare": (prepared, run_prepare),
        "caption": (stage_config("caption", recipe), run_captions),
        "encode": (stage_config("encode", recipe), run_encode),
        "label": (stage_config("label", recipe), run_label),
        "train": (stage_config("train", recipe) | {"without": []}, run_train),
        "evaluate": (evaluate_config(recipe), run_evaluate),
    }
    if not label:
        del stages["label"]
    if recipe.caption.model is None:
        del stages["caption"]
    done: dict[Stage, str] = {}
    for name, (config, run) in stages.items():
        why = workspace.why_outdated(name, config, recipe.outcome, glance=True)
        if why is None and name == "prepare":
            why = changed_pictures(workspace, recipe, files, recipe_directory)
        if why is None and name == "label" and (rounds_done := _rounds_done(workspace, recipe)):
            why = f"{rounds_done} of {recipe.label.rounds} rounds are done"
        done[name] = "up to date" if why is None else "done"
        if why is None:
            # Later stages read the whole recipe from the record of `prepare`, also what `prepare` itself ignores.
            workspace.amend(name, config)
            _LOG.info("%s: up to date", name, extra={"fields": {"stage": name}})
            continue
        _log_start(name, why)
        started, used = time.monotonic(), _processor_seconds()
        run()
        seconds = round(time.monotonic() - started, 3)
        fields = {"stage": name, "seconds": seconds, "cpu_seconds": round(_processor_seconds() - used, 3)}
        _LOG.info("%s: done (%.1f s)", name, seconds, extra={"fields": fields})
    digests.save()
    return done


def _processor_seconds() -> float:
    """What this process and its children that have ended took of the processor."""
    return sum(os.times()[:4])


def _log_start(stage: Stage, why: str) -> None:
    reason = "" if why == FIRST_TIME else f": {why}"
    _LOG.info("%s: running%s", stage, reason, extra={"fields": {"stage": stage}})
