"""The stage `train` in a workspace: reads tables and embeddings, writes `model/`, `judged/` and `index/`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mmsc_cli.index.build_hnsw import add_hnsw
from mmsc_cli.model.parts import parse_parts
from mmsc_cli.runtime.machine.versions import software_versions
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.workspace.config import StageRecipe, current_labels, stage_config
from mmsc_cli.workspace.stages import STAGES
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mmsc_cli.runtime.checkpoint import Resume
    from mmsc_cli.runtime.machine.device import DeviceChooser

_LOG = logging.getLogger(__name__)


class TrainRecipe(StageRecipe, Protocol):
    """What `train` reads of a recipe."""

    @property
    def train(self) -> TrainSettings:
        """The settings of this stage."""


def run_train(
    workspace: Workspace,
    recipe: TrainRecipe,
    without: Sequence[str],
    device: DeviceChooser,
    progress: Progress = SILENT,
    resume: Resume = "auto",
    *,
    fresh: bool = False,
) -> dict[str, Any]:
    """Run `train`; see `mmsc_cli.train.train.train`. Its checkpoints outlive an interrupted run.

    What the model in the workspace learned is taken over where it still holds, unless `fresh`, or `resume` asks for a
    checkpoint.
    """
    parts = parse_parts(without)
    config = stage_config("train", recipe) | {"without": list(parts)}
    with workspace.stage("train", config) as stage:
        from mmsc_cli.runtime.checkpoint import Checkpoints  # noqa: PLC0415  brings torch
        from mmsc_cli.train.inputs import Plan  # noqa: PLC0415  brings torch
        from mmsc_cli.train.train import train  # noqa: PLC0415  brings torch

        where = device()
        fingerprint = {
            "settings": config,
            "inputs": stage.inputs,
            "device": where.type,
            "software": {name: software_versions().get(name) for name in ("mmsc-cli", "torch")},
        }
        checkpoints = Checkpoints(workspace.work_folder("training"), fingerprint, resume)
        plan = Plan(recipe.seed, parts, current_labels(workspace, stage.inputs))
        anew = fresh or resume == "must"
        if fresh:
            _LOG.info("train: starts anew, as asked", extra={"fields": {"stage": "train", "start": "anew"}})
        left = {} if anew else {name: workspace.find_whole(name) for name in STAGES["train"].makes}
        earlier = {name: path for name, path in left.items() if path is not None}
        stage.counts |= train(workspace, recipe.train, plan, stage.staging, where, checkpoints, progress, earlier)
        recall = {name: add_hnsw(stage.path(name), recipe.seed, progress=progress) for name in ("judged", "index")}
        stage.counts["hnsw_recall"] = recall["index"]
    checkpoints.remove()
    return stage.counts
