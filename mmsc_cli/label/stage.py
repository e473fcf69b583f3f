"""The `label` stage in a workspace: its inputs in, the label table out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mmsc_cli.index.index_file import Index
from mmsc_cli.label.dry_run import dry_run
from mmsc_cli.label.gold import read_gold
from mmsc_cli.label.label import LabelInputs, label
from mmsc_cli.label.settings import LabelSettings
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.workspace.config import StageRecipe, known_truth, stage_config
from mmsc_cli.workspace.workspace import Workspace


class LabelRecipe(StageRecipe, Protocol):
    """What `label` reads of a recipe."""

    @property
    def label(self) -> LabelSettings:
        """The settings of this stage."""


def run_label(
    workspace: Workspace,
    recipe: LabelRecipe,
    endpoints: Sequence[str],
    progress: Progress = SILENT,
    *,
    gold: Path | None = None,
    turn: int = 1,
) -> dict[str, Any]:
    """Run `label`; see `mmsc_cli.label.label.label`. Finished answers outlive an interrupted run.

    `turn`: the round. From the second on, the labels of the rounds before are kept, and the model that was trained in
    between is looked at.

    Raises:
        InputError: `gold` is no table of human labels.
    """
    with workspace.stage("label", stage_config("label", recipe)) as stage:
        stage.counts |= label(
            _read_inputs(workspace, known_truth(workspace, stage.inputs), gold, turn),
            recipe.label,
            seed=recipe.seed,
            endpoints=endpoints,
            out=stage.path("labels.parquet"),
            cache=workspace.work_folder("answers"),
            progress=progress,
        )
        stage.counts |= {"round": turn, "rounds": recipe.label.rounds}
    return stage.counts


def plan_label(workspace: Workspace, recipe: LabelRecipe, endpoints: Sequence[str] = ()) -> dict[str, Any]:
    """What `label` would ask; see `mmsc_cli.label.dry_run.dry_run`."""
    truth = known_truth(workspace, workspace.inputs_of("label"))
    last = workspace.manifest().stages.get("label")
    return dry_run(
        _read_inputs(workspace, truth),
        recipe.label,
        seed=recipe.seed,
        served=bool(endpoints),
        measured=last.counts if last and last.config["label"]["model"] == recipe.label.model else None,
    )


def _read_inputs(workspace: Workspace, truth: Path | None, gold: Path | None = None, turn: int = 1) -> LabelInputs:
    item_table = read_items(workspace.path("items.parquet"))
    # Labels do not depend on embeddings: these only find candidates where `encode` has run, and so are no input.
    embeddings = workspace.find_current("embeddings")
    return LabelInputs(
        item_table,
        Pairs.read(workspace.path("pairs.parquet"), len(item_table)),
        truth,
        images=None if embeddings is None else Embeddings.open(embeddings, len(item_table)).image,
        pictures=workspace.root,
        gold=read_gold(gold, item_table["item_id"].to_pylist()) if gold else None,
        shown=Index.open(workspace.path("judged")) if turn > 1 else None,
        earlier=Labels.read(workspace.path("labels.parquet"), len(item_table)) if turn > 1 else None,
        turn=turn,
    )
