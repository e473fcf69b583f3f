"""The stages as they run in a workspace: each reads the artefacts of earlier ones and adds its own.

This is the one place that knows which stage reads what; the stages themselves know artefacts, not each other."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsc_cli.errors import InputError
from mmsc_cli.recipe.settings import Part, Recipe, TrainSettings
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.versions import software_versions
from mmsc_cli.workspace.config import _known_truth, _labels, _parts, stage_config
from mmsc_cli.workspace.stages import Stage
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mmsc_cli.encode.run import EncodeTask
    from mmsc_cli.encode.shard import Shard
    from mmsc_cli.evaluate.ablation import AblationPlan
    from mmsc_cli.evaluate.context import EvaluationContext
    from mmsc_cli.index import Index
    from mmsc_cli.runtime.device import DeviceChooser
    from mmsc_cli.train.checkpoint import Resume

_LOG = logging.getLogger("mmsc_cli")


def run_encode(
    workspace: Workspace,
    recipe: Recipe,
    device: DeviceChooser,
    progress: Progress = SILENT,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """Run `encode`; see `mmsc_cli.encode.run.encode_share`. What is done outlives an interrupted run.

    With a `shard` only that share is encoded, beside other processes; the process whose share is the last one puts
    them together. The others return how many are missing.
    """
    from mmsc_cli.encode.run import EncodeTask, encode_share
    from mmsc_cli.encode.shard import WHOLE

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
            from mmsc_cli.encode.assemble import put_together

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


def run_label(
    workspace: Workspace,
    recipe: Recipe,
    endpoints: Sequence[str],
    progress: Progress = SILENT,
    *,
    gold: Path | None = None,
) -> dict[str, Any]:
    """Run `label`; see `mmsc_cli.label.run.label`. Finished answers outlive an interrupted run.

    Raises:
        InputError: `gold` is no table of human labels.
    """
    with workspace.stage("label", stage_config("label", recipe)) as stage:
        from mmsc_cli.label.gold import read_gold
        from mmsc_cli.label.run import label
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
            truth=_known_truth(workspace, stage.inputs),
            images=_image_vectors(workspace),
            gold=read_gold(gold, items["item_id"].to_pylist()) if gold else None,
            progress=progress,
        )
    return stage.counts


def plan_label(workspace: Workspace, recipe: Recipe, endpoints: Sequence[str] = ()) -> dict[str, Any]:
    """What `label` would ask; see `mmsc_cli.label.plan.dry_run`."""
    from mmsc_cli.label.plan import dry_run
    from mmsc_cli.tables.items import read_items
    from mmsc_cli.tables.pairs import read_pairs

    inputs = workspace.inputs_of("label")
    last = workspace.manifest().stages.get("label")
    return dry_run(
        read_items(workspace.path("items.parquet")),
        read_pairs(workspace.path("pairs.parquet")),
        recipe.label,
        seed=recipe.seed,
        truth=_known_truth(workspace, inputs),
        images=_image_vectors(workspace),
        served=bool(endpoints),
        measured=last.counts if last and last.config["label"]["model"] == recipe.label.model else None,
    )


def run_train(
    workspace: Workspace,
    recipe: Recipe,
    without: Sequence[str],
    device: DeviceChooser,
    progress: Progress = SILENT,
    resume: Resume = "auto",
) -> dict[str, Any]:
    """Run `train`; see `mmsc_cli.train.run.train`. Its checkpoints outlive an interrupted run."""
    parts = _parts(without)
    config = stage_config("train", recipe) | {"without": list(parts)}
    with workspace.stage("train", config) as stage:
        from mmsc_cli.infer.hnsw import add_hnsw
        from mmsc_cli.train.checkpoint import Checkpoints
        from mmsc_cli.train.run import train

        where = device()
        fingerprint = {
            "settings": config,
            "inputs": stage.inputs,
            "device": where.type,
            "software": {name: software_versions().get(name) for name in ("mmsc-cli", "torch")},
        }
        checkpoints = Checkpoints(workspace.path("training"), fingerprint, resume)
        stage.counts |= train(
            workspace,
            recipe.train,
            labels=_labels(workspace, stage.inputs),
            seed=recipe.seed,
            without=parts,
            model=stage.directory("model"),
            index=stage.directory("index"),
            device=where,
            checkpoints=checkpoints,
            progress=progress,
        )
        stage.counts["hnsw_recall"] = add_hnsw(stage.path("index"), recipe.seed, progress=progress)
    checkpoints.remove()
    return stage.counts


def run_evaluate(
    workspace: Workspace,
    recipe: Recipe,
    *,
    parts: Sequence[str],
    seeds: int,
    report: Path | None,
    device: DeviceChooser,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Run `evaluate`; see `mmsc_cli.evaluate.run.evaluate`.

    With `parts` or more than one seed, models are retrained, with the settings and from the seed of the model judged,
    into a folder that is removed afterwards.

    Raises:
        InputError: a part or a baseline is unknown, or `report` cannot be written.
    """
    asked = _parts(parts)
    if report is not None and (report.is_dir() or not report.parent.is_dir()):
        raise InputError(f"--report {report}: not a file in a folder that exists", hint="choose another place")
    config = stage_config("evaluate", recipe) | {"ablate": list(asked), "seeds": seeds}
    with workspace.stage("evaluate", config) as stage:
        from mmsc_cli.evaluate import artefacts
        from mmsc_cli.evaluate.gallery import build_gallery
        from mmsc_cli.evaluate.report import write_report
        from mmsc_cli.evaluate.run import evaluate
        from mmsc_cli.index import Index
        from mmsc_cli.runtime.atomic import write_json

        context = artefacts.read_context(workspace, recipe.seed)
        index = Index.open(workspace.path("index"))
        training = workspace.manifest().stages["train"]
        result = evaluate(
            context,
            index,
            baselines=recipe.evaluate.baselines,
            negatives=recipe.evaluate.negatives,
            bootstrap=recipe.evaluate.bootstrap,
            fit_seconds=training.seconds,
            truth=artefacts.read_known_truth(workspace, stage.inputs, training),
            ablation=_plan_ablation(workspace, stage.staging, context, index, asked, seeds, device, progress),
            device=device,
            progress=progress,
        )
        write_json(stage.path("metrics.json"), result)
        gallery = build_gallery(context, index, artefacts.read_item_labels(workspace))
        history = artefacts.read_training_history(workspace)
        title = f"{recipe.name}: verdict"
        write_report(stage.path("report.html"), result, gallery, history, title)
        if report is not None:
            write_report(report, result, gallery, history, title)
        stage.counts |= {"models": list(result["models"])}
    return result


def _plan_ablation(
    workspace: Workspace,
    staging: Path,
    context: EvaluationContext,
    index: Index,
    asked: tuple[Part, ...],
    seeds: int,
    device: DeviceChooser,
    progress: Progress,
) -> AblationPlan | None:
    """How to retrain what is asked for, into `staging`; None where nothing is."""
    if not asked and seeds == 1:
        return None
    from mmsc_cli.evaluate import artefacts
    from mmsc_cli.evaluate.ablation import AblationPlan
    from mmsc_cli.index import Index

    training = workspace.manifest().stages["train"]
    already_without: list[Part] = training.config["without"]
    first: int = training.config["seed"]

    def retrain(without: tuple[Part, ...], seed: int) -> Index:
        from mmsc_cli.train.run import train

        if not without and seed == first:
            return index  # the model that is judged is this one
        folder = Path(tempfile.mkdtemp(dir=staging))
        model, answers = folder / "model", folder / "index"
        model.mkdir()
        answers.mkdir()
        train(
            workspace,
            TrainSettings.model_validate(training.config["train"]),
            labels=_labels(workspace, training.inputs),
            seed=seed,
            without=[*already_without, *without],
            model=model,
            index=answers,
            device=device(),
            progress=progress,
        )
        shutil.rmtree(model)
        return Index.open(answers)

    not_tested = artefacts.untestable_parts(asked, context, training)
    return AblationPlan(
        retrain,
        tuple(part for part in asked if part not in not_tested),
        tuple(range(first, first + seeds)),
        not_tested,
        artefacts.annotator_of(workspace, training),
    )


def run_all(
    workspace: Workspace,
    recipe: Recipe,
    *,
    inputs: Sequence[Path],
    recipe_directory: Path,
    label: bool,
    device: DeviceChooser,
    progress: Progress = SILENT,
) -> dict[str, str]:
    """Run every stage that is not up to date.

    Returns:
        Per stage `done` or `up to date`.
    """
    from mmsc_cli.prepare.run import prepare, prepare_config

    prepared = prepare_config(recipe, inputs, recipe_directory)

    def run_prepare() -> dict[str, Any]:
        return prepare(
            workspace, recipe, inputs=inputs, recipe_directory=recipe_directory, config=prepared, progress=progress
        )

    stages: dict[Stage, tuple[dict[str, Any], Callable[[], Any]]] = {
        "prepare": (prepared, run_prepare),
        "encode": (stage_config("encode", recipe), lambda: run_encode(workspace, recipe, device, progress)),
        "label": (stage_config("label", recipe), lambda: run_label(workspace, recipe, [], progress)),
        "train": (
            stage_config("train", recipe) | {"without": []},
            lambda: run_train(workspace, recipe, [], device, progress),
        ),
        "evaluate": (
            stage_config("evaluate", recipe) | {"ablate": [], "seeds": 1},
            lambda: run_evaluate(workspace, recipe, parts=[], seeds=1, report=None, device=device, progress=progress),
        ),
    }
    if not label:
        del stages["label"]
    done: dict[str, str] = {}
    for name, (config, run) in stages.items():
        current = workspace.is_current(name, config) if name != "prepare" else _is_prepared(workspace, config)
        done[name] = "up to date" if current else "done"
        if current:
            # Of `prepare` later stages read the whole recipe, also what `prepare` itself does not look at.
            workspace.amend(name, config)
            _LOG.info("%s: up to date", name)
            continue
        _LOG.info("%s: running", name)
        started = time.monotonic()
        run()
        _LOG.info("%s: done (%.1f s)", name, time.monotonic() - started)
    return done


def _is_prepared(workspace: Workspace, config: dict[str, Any]) -> bool:
    """Whether `prepare` ran on this source: its record holds the whole recipe, most of which it does not look at."""
    record = workspace.manifest().stages.get("prepare")
    if record is None or record.config["inputs"] != config["inputs"]:
        return False
    read = ("source", "images", "split", "seed")
    same = all(record.config["recipe"].get(key) == config["recipe"][key] for key in read)
    return same and workspace.is_current("prepare", record.config)


def _image_vectors(workspace: Workspace) -> NDArray[np.float16] | None:
    """Memory-mapped image vectors, where `encode` has run; labels say nothing of them, so they are no input."""
    from mmsc_cli.tables.embeddings import map_embeddings

    folder = workspace.find_current("embeddings")
    return None if folder is None else map_embeddings(folder)[1]
