"""The encode stage in a workspace: `items.parquet` and `images/` become `embeddings/`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mmsc_cli.encode.earlier import Earlier
from mmsc_cli.encode.encode import encode_shard
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encode.merge import merge
from mmsc_cli.encode.settings import EncodeSettings
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.shares.runner import Runner, all_ran
from mmsc_cli.runtime.shares.shards import Shard
from mmsc_cli.tables.captions import write_captioned_items
from mmsc_cli.workspace.config import StageRecipe, stage_config
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mmsc_cli.runtime.machine.device import DeviceChooser

UNFINISHED = "encoding"  # the folder of finished parts


class EncodeRecipe(StageRecipe, Protocol):
    """What `encode` reads of a recipe."""

    @property
    def encode(self) -> EncodeSettings:
        """The settings of this stage."""


@dataclass(frozen=True)
class EncodeWork:
    """What to encode, in a form that other processes can be given.

    Attributes:
        root: the workspace.
        settings: the recipe's `[encode]`.
        seed: the seed of the run.
        device: chooses the device; called only if the encoder needs torch.
        progress: shows how far the work is.
        fresh: encode also what the embeddings in the workspace have.
    """

    root: Path
    settings: EncodeSettings
    seed: int
    device: DeviceChooser
    progress: Progress = SILENT
    fresh: bool = False

    def task(self, inputs: Mapping[str, str]) -> EncodeTask:
        """Look at the workspace, whose artefacts have the digests `inputs`."""
        workspace = Workspace(self.root)
        whole = None if self.fresh else workspace.find_whole("embeddings")
        return EncodeTask(
            items_path=_items_with_captions(workspace, inputs),
            pairs_path=workspace.path("pairs.parquet"),
            settings=self.settings,
            inputs=inputs,
            workspace_root=workspace.root,
            unfinished=workspace.work_folder(UNFINISHED),
            seed=self.seed,
            device=self.device,
            progress=self.progress,
            earlier=None if whole is None else Earlier.open(whole),
        )


def encode_share(work: EncodeWork, shard: Shard) -> list[Shard]:
    """Encode the parts of a shard that are not finished; return the shards that have some by then."""
    with Workspace(work.root).share("encode") as inputs:
        return encode_shard(work.task(inputs), shard).missing(shard)


def run_encode(
    workspace: Workspace,
    recipe: EncodeRecipe,
    device: DeviceChooser,
    progress: Progress = SILENT,
    runner: Runner | None = None,
    *,
    fresh: bool = False,
) -> dict[str, Any]:
    """Run `encode`; finished parts outlive an interrupted run, and the next run uses them.

    Texts and images whose content the embeddings in the workspace have are not encoded again, unless `fresh`.

    Args:
        workspace: has the items.
        recipe: the settings.
        device: chooses the device.
        progress: shows how far the work is.
        runner: works on the shares, to which it may have to send `device` and `progress`; None: this process does all.
        fresh: encode everything.

    Returns:
        Counts for the manifest; where parts are missing, as of shards that others work on, the shard and those that
        have unfinished parts.
    """
    config = stage_config("encode", recipe)
    work = EncodeWork(workspace.root.absolute(), recipe.encode, recipe.seed, device, progress, fresh)
    with_others = False
    if runner is not None:
        workspace.enter("encode")
        results = runner.run(partial(encode_share, work))
        with_others = not all_ran(results)
        shard, missing = next(iter(results.items()))
        if with_others and missing:
            return {"shard": str(shard), "missing": [str(sibling) for sibling in missing]}
    # Whoever sees all parts merges them. If two processes do, the second finds that the first has.
    with workspace.stage("encode", config, wait=with_others) as stage:
        if with_others and workspace.is_current("encode", config):
            stage.up_to_date = True
        else:
            encoding = encode_shard(work.task(stage.inputs))
            stage.counts |= merge(encoding, stage.directory("embeddings"), stage.path("failures.jsonl"))
    shutil.rmtree(workspace.work_folder(UNFINISHED), ignore_errors=True)
    return workspace.manifest().stages["encode"].counts


def _items_with_captions(workspace: Workspace, inputs: Mapping[str, str]) -> Path:
    """Where the item table lies whose texts are encoded: where there are captions, a copy with them."""
    items = workspace.path("items.parquet")
    if "captions.parquet" not in inputs:
        return items
    unfinished = workspace.work_folder(UNFINISHED)
    unfinished.mkdir(exist_ok=True)
    copy = unfinished / f"items-{inputs['items.parquet'][:16]}-{inputs['captions.parquet'][:16]}.parquet"
    if not copy.exists():
        write_captioned_items(items, workspace.path("captions.parquet"), copy)
    return copy
