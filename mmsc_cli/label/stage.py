"""The `label` stage in a workspace: its inputs in, the label table out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from mmsc_cli.errors import InputError
from mmsc_cli.index.index_file import Index
from mmsc_cli.label.annotators import needs_openai, seeing_model
from mmsc_cli.label.dry_run import dry_run
from mmsc_cli.label.gold import read_gold
from mmsc_cli.label.label import LabelInputs, label
from mmsc_cli.label.settings import CaptionSettings, LabelSettings
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.captions import read_captions, with_captions, write_captions
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.image_hashes import NO_IMAGE, read_image_hashes
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.workspace.config import StageRecipe, known_truth, stage_config
from mmsc_cli.workspace.regular_file import refuse_model_inside
from mmsc_cli.workspace.workspace import Workspace


class LabelRecipe(StageRecipe, Protocol):
    """What `label` reads of a recipe."""

    @property
    def label(self) -> LabelSettings:
        """The settings of this stage, and how a model is served and asked."""

    @property
    def caption(self) -> CaptionSettings:
        """Who says what pictures show."""


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
            _read_inputs(workspace, stage.inputs, gold, turn),
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
    last = workspace.manifest().stages.get("label")
    return dry_run(
        _read_inputs(workspace, workspace.inputs_of("label")),
        recipe.label,
        seed=recipe.seed,
        served=bool(endpoints),
        measured=last.counts if last and last.config["label"]["model"] == recipe.label.model else None,
    )


def run_captions(
    workspace: Workspace, recipe: LabelRecipe, endpoints: Sequence[str], progress: Progress = SILENT
) -> dict[str, Any]:
    """Ask a model that sees what the pictures show, and write the table of captions.

    Captions outlive an interrupted run, and every later one: a picture that did not change is not asked about again.

    Returns:
        Counts for the manifest; see `mmsc_cli.label.llm.captions.caption`.

    Raises:
        InputError: no such model is named, there are no pictures, or the extra `llm` is not installed.
        GateError, UnreachableError: as `mmsc_cli.label.label.label`.
    """
    model, described = seeing_model(recipe.caption.model)
    with workspace.stage("caption", stage_config("caption", recipe)) as stage:
        hashes = read_image_hashes(workspace.root)
        if hashes is None or not (hashes != NO_IMAGE).any():
            raise InputError("there are no pictures in this workspace", hint="run `mmsc prepare SOURCE` with images")
        refuse_model_inside(workspace.root, Path(model), f"--model {model}")
        item_table = read_items(workspace.path("items.parquet"), ["item_id", "image_path"])
        with needs_openai():
            from mmsc_cli.label.llm.captions import caption  # noqa: PLC0415  brings openai
            from mmsc_cli.label.llm.pictures import Pictures  # noqa: PLC0415  brings PIL
            from mmsc_cli.label.llm.servers import Servers  # noqa: PLC0415  brings openai
        cache = workspace.work_folder("answers")
        with Servers(model, recipe.label, endpoints=endpoints, cache=cache, progress=progress) as servers:
            captions, counts = caption(Pictures(item_table, workspace.root), hashes, servers)
        table = item_table.append_column("caption", pa.array(captions, pa.string()))
        write_captions(stage.path("captions.parquet"), table)
        stage.counts |= {"annotator": described, **counts}
    return stage.counts


def _read_inputs(
    workspace: Workspace, inputs: Mapping[str, str], gold: Path | None = None, turn: int = 1
) -> LabelInputs:
    truth = known_truth(workspace, inputs)
    captions = workspace.path("captions.parquet") if "captions.parquet" in inputs else None
    item_table = read_items(workspace.path("items.parquet"))
    if captions is not None:
        item_table = with_captions(item_table, read_captions(captions, len(item_table)))
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
