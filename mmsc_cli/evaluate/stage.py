"""`evaluate` in a workspace: the artefacts it reads, the models it retrains, and the two files it writes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.ablation import AblationPlan
from mmsc_cli.evaluate.context import EvaluationContext, Modality
from mmsc_cli.evaluate.evaluate import evaluate
from mmsc_cli.evaluate.following import following_curve
from mmsc_cli.evaluate.people import precision_by_people
from mmsc_cli.evaluate.report.gallery import Reason, ShownItems, build_gallery
from mmsc_cli.evaluate.report.report import render_report, write_report
from mmsc_cli.evaluate.settings import EvaluateSettings, evaluate_config
from mmsc_cli.evaluate.truth_mode import KnownTruth
from mmsc_cli.files.images import UnusableImageError, resolve_image
from mmsc_cli.index.index_file import Index
from mmsc_cli.model.parts import Part, parse_parts
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.edges import Edges
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.image_hashes import check_images, hash_image
from mmsc_cli.tables.items import item_splits, read_items
from mmsc_cli.tables.judgements import FILE, read_judgements, votes_by_annotator, votes_of
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.outside import Outside
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.truth import Truth
from mmsc_cli.version import __version__
from mmsc_cli.workspace.config import StageRecipe
from mmsc_cli.workspace.manifest import StageRecord
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mmsc_cli.runtime.machine.device import DeviceChooser


# Trains again (workspace, record of the judged model's training, folder, without, seed, device, progress).
Retrain = Callable[[Workspace, StageRecord, Path, Sequence[Part], int, "DeviceChooser", Progress], Index]
# Describes the answers that the shop shows, and keeps them in a file (workspace, result so far, file, progress).
DescribeNight = Callable[[Workspace, Mapping[str, Any], Path, Progress], dict[str, Any]]


@dataclass(frozen=True)
class OtherStages:
    """What `evaluate` needs of other stages; only the pipeline knows them all, and hands it in.

    Attributes:
        retrain: trains a model again.
        explain: gives the reasons of an index.
        describe_night: says what rules of the shop did, and what changed since the last night.
    """

    retrain: Retrain
    explain: Callable[[Index], Reason]
    describe_night: DescribeNight


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
    others: OtherStages,
    *,
    parts: Sequence[str],
    seeds: int,
    report: Path | None,
    device: DeviceChooser,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Judge the trained model of a workspace; write metrics.json, report.html (to `report` too) and answers.parquet.

    With `parts` or more than one seed, models are retrained, with the settings and from the seed of the model judged,
    in a folder that is removed afterwards.

    Returns:
        What `mmsc_cli.evaluate.evaluate.evaluate` returns, with `following`, `people` and `night`.

    Raises:
        InputError: a part or a baseline is unknown, or `report` cannot be written.
    """
    without_each = parse_parts(parts)
    if report is not None and (report.is_dir() or not report.parent.is_dir()):
        raise InputError(f"--report {report}: not a file in a folder that exists", hint="choose another file")
    config = evaluate_config(recipe, without_each, seeds)
    with workspace.stage("evaluate", config) as stage:
        training = workspace.manifest().stages["train"]
        context = read_context(workspace, recipe.seed, kept_tuning(workspace, recipe.seed, training))
        index = Index.open(workspace.path("judged" if "judged" in stage.inputs else "index"))
        first_seed: int = training.config["seed"]

        def fit(without: Sequence[Part], seed: int) -> Index:
            if not without and seed == first_seed:
                return index  # the judged model itself
            folder = Path(tempfile.mkdtemp(dir=stage.staging))
            return others.retrain(workspace, training, folder, without, seed, device, progress)

        ablation = None
        if without_each or seeds > 1:
            not_tested = untestable_parts(without_each, context, training)
            ablation = AblationPlan(
                fit,
                tuple(part for part in without_each if part not in not_tested),
                tuple(range(first_seed, first_seed + seeds)),
                not_tested,
                annotator_of(workspace, training),
            )
        truth = read_known_truth(workspace, stage.inputs, training)
        result = evaluate(
            context,
            index,
            recipe.evaluate,
            fit_seconds=training.seconds,
            truth=truth,
            ablation=ablation,
            device=device,
            progress=progress,
        )
        if (following := following_curve(context, index, truth, progress)) is not None:
            result["following"] = following
        shown_items = read_shown_items(workspace)
        judgements = read_judgements(workspace.root / FILE)
        if len(judgements):
            votes = votes_of(judgements, shown_items.item_ids)
            result["people"] = precision_by_people(
                index, votes, votes_by_annotator(judgements, shown_items.item_ids), recipe.seed
            )
        result["night"] = others.describe_night(workspace, result, stage.path("answers.parquet"), progress)
        write_json(stage.path("metrics.json"), result)
        gallery = build_gallery(context, index, shown_items, others.explain(index))
        history, facts = read_training_history(workspace), model_facts(workspace, training)
        student = training.counts.get("student")
        warnings = workspace.manifest().stages["prepare"].counts.get("warnings", [])
        page = render_report(result, gallery, history, f"{recipe.name}: verdict", facts, student, warnings)
        for path in (stage.path("report.html"), report):
            if path is not None:
                write_report(path, page)
        stage.counts |= {"models": list(result["models"])}
    return result


def read_context(workspace: Workspace, seed: int, kept: Mapping[str, Any] | None = None) -> EvaluationContext:
    """Items, pairs and embeddings; `kept`: as in EvaluationContext.

    Raises:
        WorkspaceError: they do not belong together.
    """
    outside = workspace.path("outside.parquet")
    item_table = read_items(workspace.path("items.parquet"), columns=["category", "split"])
    text, image, mask, joint = Embeddings.open(workspace.path("embeddings"), len(item_table))
    return EvaluationContext(
        pairs=Pairs.read(workspace.path("pairs.parquet"), len(item_table)),
        item_split=item_splits(item_table),
        category=item_table["category"].to_pylist(),
        text=Modality(text, mask[:, 0]),
        image=Modality(image, mask[:, 1]),
        joint=Modality(joint, np.asarray(mask.all(axis=1))) if joint.shape[1] else None,
        seed=seed,
        outside=Outside.read(outside) if outside.exists() else None,
        kept=kept or {},
    )


def kept_tuning(workspace: Workspace, seed: int, training: StageRecord) -> dict[str, Any]:
    """How baselines were tuned the last time, by name, where training started from it and the seed is the same."""
    whole = workspace.find_whole("metrics.json") if training.counts.get("start") == "the last time" else None
    result = {} if whole is None else json.loads(whole.read_bytes())
    if not result or result["protocol"]["seed"] != seed:
        return {}
    return {name: figures["tuning"] for name, figures in result["models"].items() if "tuning" in figures}


def read_known_truth(workspace: Workspace, inputs: Mapping[str, str], training: StageRecord) -> KnownTruth | None:
    """The true relations and what is judged by them; None where the stage's inputs have no truth table.

    Args:
        workspace: the workspace.
        inputs: the checked inputs of the stage.
        training: the record of the judged model's training.
    """
    if "truth.parquet" not in inputs:
        return None
    edges = workspace.path("model") / "edges.parquet"
    # An index is fresh only while the labels it was trained with are unchanged, so they need no check of their own.
    return KnownTruth(
        Truth.read(workspace.path("truth.parquet")),
        Edges.read(edges) if edges.exists() else None,
        Labels.read(workspace.path("labels.parquet")) if "labels.parquet" in training.inputs else None,
    )


def read_training_history(workspace: Workspace) -> list[dict[str, float]]:
    """Loss and validation figures of each epoch, oldest first; empty where the model has none."""
    path = workspace.path("model") / "metrics.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def model_facts(workspace: Workspace, training: StageRecord) -> dict[str, str]:
    """Name what the judged model was made of, for the head of the report."""
    encoding = workspace.manifest().stages.get("encode")
    return {
        "mmsc": __version__,
        "trained": f"{training.finished[:10]} in {training.seconds:,.0f} s",
        "encoder": "none" if encoding is None else str(encoding.config["encode"]["encoder"]),
        "labels": annotator_of(workspace, training) or "none",
    }


def read_shown_items(workspace: Workspace) -> ShownItems:
    """How items are shown; an image that `prepare` did not put in place is refused."""
    items_path, root = workspace.path("items.parquet"), workspace.root
    names = ["item_id", "title", "price", "image_path"]
    item_ids, titles, prices, images = (column.to_pylist() for column in read_items(items_path, columns=names).columns)

    def check_image(item_row: int) -> None:
        with suppress(OSError, UnusableImageError):  # one that cannot be read is not shown
            actual = hash_image(resolve_image(root, images[item_row]))
            check_images(root, items_path, range(item_row, item_row + 1), np.array([actual], np.uint64))

    return ShownItems(item_ids, titles, prices, images, root, check_image)


def untestable_parts(parts: Sequence[Part], context: EvaluationContext, training: StageRecord) -> dict[Part, str]:
    """The parts that do nothing in the judged model, with the reason: leaving them out changes nothing."""
    reasons: dict[str, str] = dict.fromkeys(training.config["without"], "the model judged was trained without it")
    if context.text is None or not context.text.present.any():
        reasons.setdefault("text", "no item has a text")
    if context.image is None or not context.image.present.any():
        reasons.setdefault("image", "no item has an image")
    if context.outside is None or not len(context.outside):
        reasons.setdefault("outside", "no item has a partner outside the catalogue")
    if "labels.parquet" not in training.inputs:
        reasons.setdefault("llm", "the model judged was trained without labels; run `mmsc label`, then `mmsc train`")
    elif training.config["train"]["llm"] == 0:
        reasons.setdefault("llm", "train.llm is 0, so labels have no weight")
    elif not training.counts.get("labelled_pairs") and not training.counts.get("added_pairs"):
        reasons.setdefault("llm", "training can use none of the labels")
    return {part: reasons[part] for part in parts if part in reasons}


def annotator_of(workspace: Workspace, training: StageRecord) -> str | None:
    """Name the annotator of the labels that the model was trained with; None where there were none."""
    record = workspace.manifest().stages.get("label")
    if record is None or "labels.parquet" not in training.inputs:
        return None
    annotator: str = record.counts["annotator"]
    return annotator
