from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mmsc_cli.label.settings import LabelSettings
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.workspace.config import StageRecipe, known_truth, stage_config
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
) -> dict[str, Any]:
    """Run `label`; see `mmsc_cli.label.label.label`. Finished answers outlive an interrupted run.

    Raises:
        InputError: `gold` is no table of human labels.
    """
    with workspace.stage("label", stage_config("label", recipe)) as stage:
        from mmsc_cli.label.gold import read_gold
        from mmsc_cli.label.label import label
        from mmsc_cli.tables.items import read_items
        from mmsc_cli.tables.pairs import read_pairs

        items = read_items(workspace.path("items.parquet"))
        stage.counts |= label(
            items,
            read_pairs(workspace.path("pairs.parquet")),
            recipe.label,
            seed=recipe.seed,
            endpoints=endpoints,
            out=stage.path("labels.parquet"),
            cache=workspace.path("answers"),
            truth=known_truth(workspace, stage.inputs),
            images=_image_vectors(workspace),
            gold=read_gold(gold, items["item_id"].to_pylist()) if gold else None,
            progress=progress,
        )
    return stage.counts


def plan_label(workspace: Workspace, recipe: LabelRecipe, endpoints: Sequence[str] = ()) -> dict[str, Any]:
    """What `label` would ask; see `mmsc_cli.label.dry_run.dry_run`."""
    from mmsc_cli.label.dry_run import dry_run
    from mmsc_cli.tables.items import read_items
    from mmsc_cli.tables.pairs import read_pairs

    inputs = workspace.inputs_of("label")
    last = workspace.manifest().stages.get("label")
    return dry_run(
        read_items(workspace.path("items.parquet")),
        read_pairs(workspace.path("pairs.parquet")),
        recipe.label,
        seed=recipe.seed,
        truth=known_truth(workspace, inputs),
        images=_image_vectors(workspace),
        served=bool(endpoints),
        measured=last.counts if last and last.config["label"]["model"] == recipe.label.model else None,
    )


def _image_vectors(workspace: Workspace) -> NDArray[np.float16] | None:
    """Memory-mapped image vectors, where `encode` has run; labels say nothing of them, so they are no input."""
    from mmsc_cli.tables.embeddings import map_embeddings

    folder = workspace.find_current("embeddings")
    return None if folder is None else map_embeddings(folder)[1]
