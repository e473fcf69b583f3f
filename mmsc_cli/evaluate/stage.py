"""evaluate in a workspace: what it reads, and the models it has retrained."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.ablation import AblationPlan, FitModel
from mmsc_cli.evaluate.context import EvaluationContext, Modality
from mmsc_cli.evaluate.report.gallery import Labels
from mmsc_cli.evaluate.settings import EvaluateSettings
from mmsc_cli.evaluate.truth import KnownTruth
from mmsc_cli.files.images import UnusableImageError, resolve_image
from mmsc_cli.model.parts import Part, parse_parts
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.edges import Edges
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.image_hashes import check_images, hash_image
from mmsc_cli.tables.items import item_splits, read_items
from mmsc_cli.tables.labels import Labels as LabelTable
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.truth import Truth
from mmsc_cli.workspace.config import StageRecipe, stage_config
from mmsc_cli.workspace.records import StageRecord
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mmsc_cli.index.index_file import Index
    from mmsc_cli.runtime.device import DeviceChooser

# Trains again (workspace, how the judged model was trained, folder, without, seed, device, progress). Only the
# pipeline knows both stages.
Retrain = Callable[[Workspace, StageRecord, Path, Sequence[Part], int, "DeviceChooser", Progress], "Index"]


class EvaluateRecipe(StageRecipe, Protocol):
    """What `evaluate` reads of a recipe."""

    @property
    def name(self) -> str:
        """Of the data set, for the title of the report."""

    @property
    def evaluate(self) -> EvaluateSettings:
        """The settings of this stage."""


def run_evaluate(
    workspace: Workspace,
    recipe: EvaluateRecipe,
    retrain: Retrain,
    *,
    parts: Sequence[str],
    seeds: int,
    report: Path | None,
    device: DeviceChooser,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Run `evaluate`; see `mmsc_cli.evaluate.evaluate.evaluate`.

    With `parts` or more than one seed, models are retrained, with the settings and from the seed of the model judged,
    into a folder that is removed afterwards.

    Raises:
        InputError: a part or a baseline is unknown, or `report` cannot be written.
    """
    asked = parse_parts(parts)
    if report is not None and (report.is_dir() or not report.parent.is_dir()):
        raise InputError(f"--report {report}: not a file in a folder that exists", hint="choose another place")
    config = stage_config("evaluate", recipe) | {"ablate": list(asked), "seeds": seeds}
    with workspace.stage("evaluate", config) as stage:
        from mmsc_cli.evaluate.evaluate import evaluate
        from mmsc_cli.evaluate.report.gallery import build_gallery
        from mmsc_cli.evaluate.report.report import write_report
        from mmsc_cli.index.index_file import Index
        from mmsc_cli.runtime.atomic import write_json

        context = read_context(workspace, recipe.seed)
        index = Index.open(workspace.path("index"))
        training = workspace.manifest().stages["train"]

        def fit(without: Sequence[Part], seed: int) -> Index:
            if not without and seed == training.config["seed"]:
                return index  # the model that is judged is this one
            folder = Path(tempfile.mkdtemp(dir=stage.staging))
            return retrain(workspace, training, folder, without, seed, device, progress)

        result = evaluate(
            context,
            index,
            baselines=recipe.evaluate.baselines,
            negatives=recipe.evaluate.negatives,
            bootstrap=recipe.evaluate.bootstrap,
            fit_seconds=training.seconds,
            truth=read_known_truth(workspace, stage.inputs, training),
            ablation=_plan_ablation(workspace, context, asked, seeds, fit),
            device=device,
            progress=progress,
        )
        write_json(stage.path("metrics.json"), result)
        gallery = build_gallery(context, index, read_item_labels(workspace))
        history = read_training_history(workspace)
        title = f"{recipe.name}: verdict"
        write_report(stage.path("report.html"), result, gallery, history, title)
        if report is not None:
            write_report(report, result, gallery, history, title)
        stage.counts |= {"models": list(result["models"])}
    return result


def _plan_ablation(
    workspace: Workspace,
    context: EvaluationContext,
    asked: tuple[Part, ...],
    seeds: int,
    fit: FitModel,
) -> AblationPlan | None:
    """What to retrain by `fit`; None where nothing is asked for."""
    if not asked and seeds == 1:
        return None
    training = workspace.manifest().stages["train"]
    first: int = training.config["seed"]
    not_tested = untestable_parts(asked, context, training)
    return AblationPlan(
        fit,
        tuple(part for part in asked if part not in not_tested),
        tuple(range(first, first + seeds)),
        not_tested,
        annotator_of(workspace, training),
    )


def read_context(workspace: Workspace, seed: int) -> EvaluationContext:
    """Items, pairs and embeddings.

    Raises:
        WorkspaceError: they do not belong together.
    """
    items = read_items(workspace.path("items.parquet"), columns=["category", "split"])
    text, image, mask = Embeddings.open(workspace.path("embeddings"))
    return EvaluationContext(
        pairs=Pairs.read(workspace.path("pairs.parquet")),
        item_split=item_splits(items),
        category=items["category"].to_pylist(),
        text=Modality(text, mask[:, 0]),
        image=Modality(image, mask[:, 1]),
        seed=seed,
    )


def read_known_truth(workspace: Workspace, inputs: Mapping[str, str], training: StageRecord) -> KnownTruth | None:
    """What truth mode needs; None where the stage's inputs have no truth table.

    Args:
        inputs: the checked inputs of the stage.
        training: how the model that is judged was trained.
    """
    if "truth.parquet" not in inputs:
        return None
    edges = workspace.path("model") / "edges.parquet"
    # An index is fresh only while the labels it was trained with lie there, so they need no check of their own.
    return KnownTruth(
        Truth.read(workspace.path("truth.parquet")),
        Edges.read(edges) if edges.exists() else None,
        LabelTable.read(workspace.path("labels.parquet")) if "labels.parquet" in training.inputs else None,
    )


def read_training_history(workspace: Workspace) -> list[dict[str, float]]:
    """Loss and validation figures of each epoch, oldest first; empty where the model has none."""
    path = workspace.path("model") / "metrics.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def read_item_labels(workspace: Workspace) -> Labels:
    """How items are shown; an image that is not what `prepare` put in place is refused."""
    table, root = workspace.path("items.parquet"), workspace.root
    names = ["item_id", "title", "price", "image_path"]
    ids, titles, prices, images = (column.to_pylist() for column in read_items(table, columns=names).columns)

    def check_image(item: int) -> None:
        with suppress(OSError, UnusableImageError):  # one that cannot be read is not shown
            found = hash_image(resolve_image(root, images[item]))
            check_images(root, table, range(item, item + 1), np.array([found], np.uint64))

    return Labels(ids, titles, prices, images, root, check_image)


def untestable_parts(parts: Sequence[Part], context: EvaluationContext, training: StageRecord) -> dict[Part, str]:
    """The parts that have nothing to do in the model judged, with the reason: leaving them out changes nothing."""
    reasons: dict[Part, str] = dict.fromkeys(training.config["without"], "the model judged was trained without it")
    if context.text is None or not context.text.present.any():
        reasons.setdefault("text", "no item has a text")
    if context.image is None or not context.image.present.any():
        reasons.setdefault("image", "no item has an image")
    if "labels.parquet" not in training.inputs:
        reasons.setdefault("llm", "the model judged was trained without labels; run `mmsc label`, then `mmsc train`")
    elif training.config["train"]["llm"] == 0:
        reasons.setdefault("llm", "train.llm is 0, so labels have no weight")
    elif not training.counts.get("labelled_pairs") and not training.counts.get("added_pairs"):
        reasons.setdefault("llm", "none of the labels is of use in training")
    return {part: reasons[part] for part in parts if part in reasons}


def annotator_of(workspace: Workspace, training: StageRecord) -> str | None:
    """Who made the labels that the model was trained with."""
    record = workspace.manifest().stages.get("label")
    if record is None or "labels.parquet" not in training.inputs:
        return None
    annotator: str = record.counts["annotator"]
    return annotator
