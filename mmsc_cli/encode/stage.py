"""The encode stage in a workspace: `items.parquet` and `images/` become `embeddings/`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from mmsc_cli.encode.earlier import Earlier
from mmsc_cli.encode.encode import encode_shard
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encode.merge import merge
from mmsc_cli.encode.settings import EncodeSettings
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.shards import WHOLE, Shard
from mmsc_cli.workspace.config import StageRecipe, stage_config
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mmsc_cli.runtime.machine.device import DeviceChooser


class EncodeRecipe(StageRecipe, Protocol):
    """What `encode` reads of a recipe."""

    @property
    def encode(self) -> EncodeSettings:
        """The settings of this stage."""


def run_encode(
    workspace: Workspace,
    recipe: EncodeRecipe,
    device: DeviceChooser,
    progress: Progress = SILENT,
    shard: Shard | None = None,
    *,
    fresh: bool = False,
) -> dict[str, Any]:
    """Run `encode`; finished parts outlive an interrupted run, and the next run uses them.

    Texts and images whose content the embeddings in the workspace have are not encoded again, unless `fresh`.

    Returns:
        Counts for the manifest; for a shard that is not the last one to finish, its name and those of the missing ones.
    """
    shard = shard or WHOLE
    config = stage_config("encode", recipe)
    work_folder = workspace.work_folder("encoding")
    whole = None if fresh else workspace.find_whole("embeddings")

    def task(inputs: Mapping[str, str]) -> EncodeTask:
        return EncodeTask(
            items_path=workspace.path("items.parquet"),
            pairs_path=workspace.path("pairs.parquet"),
            settings=recipe.encode,
            inputs=inputs,
            workspace_root=workspace.root,
            unfinished=work_folder,
            seed=recipe.seed,
            device=device,
            progress=progress,
            earlier=None if whole is None else Earlier.open(whole),
        )

    if shard != WHOLE:
        with workspace.share("encode") as inputs:
            missing = encode_shard(task(inputs), shard).missing(shard)
        if missing:
            return {"shard": str(shard), "missing": [str(sibling) for sibling in missing]}
    # Whoever sees all parts merges them. If two processes do, the second finds that the first has.
    with workspace.stage("encode", config, wait=shard != WHOLE) as stage:
        if shard != WHOLE and workspace.is_current("encode", config):
            stage.up_to_date = True
        else:
            encoding = encode_shard(task(stage.inputs))
            stage.counts |= merge(encoding, stage.directory("embeddings"), stage.path("failures.jsonl"))
    shutil.rmtree(work_folder, ignore_errors=True)
    return workspace.manifest().stages["encode"].counts
