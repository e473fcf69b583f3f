from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from mmsc_cli.encode.settings import EncodeSettings
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.workspace.config import StageRecipe, stage_config
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mmsc_cli.encode.shards import Shard
    from mmsc_cli.encode.task import EncodeTask
    from mmsc_cli.runtime.device import DeviceChooser


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
) -> dict[str, Any]:
    """Run `encode`; see `mmsc_cli.encode.encode.encode_share`. What is done outlives an interrupted run.

    With a `shard` only that share is encoded, beside other processes; the process whose share is the last one puts
    them together. The others return how many are missing.
    """
    from mmsc_cli.encode.encode import encode_share
    from mmsc_cli.encode.shards import WHOLE
    from mmsc_cli.encode.task import EncodeTask

    config = stage_config("encode", recipe)

    def task(inputs: Mapping[str, str]) -> EncodeTask:
        return EncodeTask(
            items=workspace.path("items.parquet"),
            pairs=workspace.path("pairs.parquet"),
            settings=recipe.encode,
            inputs=inputs,
            workspace_root=workspace.root,
            unfinished=workspace.path("encoding"),
            seed=recipe.seed,
            device=device,
            progress=progress,
        )

    if shard == WHOLE:
        shard = None
    if shard is not None:
        with workspace.share("encode") as inputs:
            work, _ = encode_share(task(inputs), shard)
            if missing := work.missing(shard):
                return {"shard": str(shard), "missing": [str(sibling) for sibling in missing]}
    try:
        with workspace.stage("encode", config, wait=shard is not None) as stage:
            from mmsc_cli.encode.merge import put_together

            if shard is not None and workspace.is_current("encode", config):
                shutil.rmtree(workspace.path("encoding"), ignore_errors=True)
                raise _PutTogetherError
            work, encoder = encode_share(task(stage.inputs))
            stage.counts |= put_together(
                task(stage.inputs),
                work,
                encoder,
                work.complete() or WHOLE,
                stage.directory("embeddings"),
                stage.path("failures.jsonl"),
            )
    except _PutTogetherError:
        return workspace.manifest().stages["encode"].counts
    shutil.rmtree(workspace.path("encoding"), ignore_errors=True)
    return stage.counts


class _PutTogetherError(Exception):
    """Another process has put the shares together meanwhile."""
