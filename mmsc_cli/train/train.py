"""The stage: denoise the pairs, train the network, add the linear branch, calibrate, write model and index."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmsc_cli.index.index_file import Index, write_index
from mmsc_cli.model.features import Attributes, ItemFeatures
from mmsc_cli.model.graph import Graph, neighbour_graph
from mmsc_cli.model.mmsc import Mmsc, Shape
from mmsc_cli.model.neighbours import nearest_items, semantic_vectors
from mmsc_cli.model.parts import Part
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import derive_seed, numpy_generator
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import item_splits, read_items
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.blend import NetworkScorer, RowsScorer, mix, transfer_weights
from mmsc_cli.train.calibrate import calibrate
from mmsc_cli.train.data import Problem, TrainingPairs
from mmsc_cli.train.denoise import EdgeReliability, collect_evidence, fit_reliability
from mmsc_cli.train.export import (
    attribute_tensors,
    behaviour_tensors,
    edge_table,
    gate_tensors,
    index_tensors,
    label_tensors,
    model_identity,
    write_model,
)
from mmsc_cli.train.label_supervision import Supervision, label_trust, read_supervision
from mmsc_cli.train.linear_branch import linear_rows
from mmsc_cli.train.loop.checkpoint import Checkpoints, write_history
from mmsc_cli.train.loop.trainer import fit
from mmsc_cli.train.rerank.features import CandidateEvidence
from mmsc_cli.train.rerank.second_stage import SecondStage, compose
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.validation import figures, validations_of
from mmsc_cli.workspace.workspace import Workspace

_LOG = logging.getLogger("mmsc_cli")


def train(
    workspace: Workspace,
    settings: TrainSettings,
    *,
    labels: Path | None,
    seed: int,
    without: Sequence[Part],
    model: Path,
    index: Path,
    device: torch.device,
    checkpoints: Checkpoints | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train on a workspace's items, pairs, embeddings and labels (if any).

    Args:
        workspace: what to read.
        settings: the recipe's `[train]`.
        labels: the label table, None to train without.
        seed: of every random choice.
        without: parts of the model to leave out.
        model: an empty folder for the model.
        index: an empty folder for the index.
        device: where to compute.
        checkpoints: where the loop saves its state, and continues from; None: nowhere.
        progress: who watches.

    Returns:
        Counts and validation figures for the manifest.
    """
    started = time.monotonic()
    torch.manual_seed(derive_seed(seed, "weights"))
    items = read_items(workspace.path("items.parquet"))
    pairs = Pairs.read(workspace.path("pairs.parquet"))
    splits = item_splits(items)
    embeddings = Embeddings.open(workspace.path("embeddings"))
    attributes = Attributes.fit(items)
    features = attributes.features(items, embeddings.text, embeddings.image, np.asarray(embeddings.mask), without)
    observed = TrainingPairs.of(pairs)
    has_behaviour = observed.touched(len(items))
    semantic = semantic_vectors(features.text, features.image, features.present)
    neighbours, similarity = nearest_items(
        semantic, semantic, has_behaviour, settings.neighbours, torch.arange(len(items)), progress
    )
    similar = neighbour_graph(neighbours, similarity, len(items))
    nearest = similar.as_sparse()
    validations = validations_of(pairs, splits, seed)
    adjacency = {relation: pairs.of("train").adjacency(relation, len(items)) for relation in RELATIONS}
    linear = {}
    for relation in RELATIONS:
        with progress.task(f"Linear branch: {relation}"):
            linear[relation] = linear_rows(adjacency, relation, nearest, settings.linear_items, settings.linear_top)
    # The first answers that are worth something, long before the network's.
    head_start = {**figures(RowsScorer(linear), validations), "seconds": time.monotonic() - started}
    _LOG.info("linear branch: validation NDCG@10 %.4f after %.1f s", head_start["ndcg@10"], head_start["seconds"])

    opinions = None if labels is None or "llm" in without else Labels.read(labels)
    supervision = _supervision(opinions, observed, has_behaviour, settings)
    reliability = torch.ones_like(observed.strength)
    if "denoise" not in without:
        evidence = collect_evidence(features, semantic, nearest, observed)
        reliability = fit_reliability(EdgeReliability(), evidence, observed, supervision, seed, progress)
        del evidence
    # Of a large catalogue they take gigabytes, and are not needed any more.
    del semantic
    problem = _pose_problem(features, observed, reliability, supervision, similar).to(device)

    widths = (features.text.shape[1], features.image.shape[1])
    shape = Shape(len(items), *widths, len(attributes.categories), len(attributes.brands), settings.dim)
    network = Mmsc(shape, without).to(device)
    fitted = fit(
        network,
        problem,
        settings,
        lambda vectors: figures(NetworkScorer(vectors), validations),
        seed,
        use_agreement="denoise" not in without,
        checkpoints=checkpoints,
        progress=progress,
    )

    scorer = NetworkScorer(fitted.vectors)
    first, mixing = mix(scorer, linear, has_behaviour.numpy(), validations)
    query, key = dict(first.query), dict(first.key)
    rows = {relation: first.weighted(relation) for relation in RELATIONS}
    judged = pairs.split == "valid"
    if "aggregation" not in without and len(items) <= settings.rerank_items:
        found = CandidateEvidence(pairs, features, nearest, first)
        second = SecondStage(first, found, pairs, splits, settings.rerank_candidates, settings.rerank_epochs, seed)
        for relation, ranked in second.rank(second.fit(progress), progress).items():
            query[relation], key[relation], rows[relation] = compose(
                query[relation], key[relation], rows[relation], ranked
            )
            judged = second.kept_back
    about: dict[str, Any] = {"items": len(items), "dim": settings.dim, "seed": seed, "without": list(without)}
    about["model"] = model_identity(network)
    tensors = index_tensors(items, query, key, rows)
    tensors |= attribute_tensors(items)
    tensors |= behaviour_tensors(pairs, reliability.numpy() if "denoise" not in without else None, len(items))
    tensors |= gate_tensors(network, problem, about)
    if opinions is not None:
        tensors |= label_tensors(opinions, len(items), about)
    unwritten = Index(tensors, about)
    # What the rankers learned from is known to them, like training pairs, and no longer a question.
    still_asked = replace(pairs, split=np.where((pairs.split == "valid") & ~judged, "train", pairs.split))
    about["transfer_weight"] = transfer_weights(scorer, pairs, nearest, validations, settings.linear_top)
    about["calibration"] = calibrate(unwritten, still_asked, splits == "warm", numpy_generator(seed, "calibrate"))
    write_index(index, tensors, about)
    about_model = {"seed": seed, "without": list(without), "settings": settings.model_dump()}
    if "denoise" not in without:
        edge_table(observed, reliability).write(model / "edges.parquet")
    write_model(model, network, fitted.lendable, shape, attributes, about_model)
    write_history(model / "metrics.jsonl", fitted.history)
    return {
        "epochs": len(fitted.history),
        "training_pairs": len(observed),
        "labelled_pairs": len(supervision.on_pairs) if supervision else 0,
        "added_pairs": len(supervision.added) if supervision else 0,
        "label_strength": supervision.strength if supervision else 0.0,
        "without": list(without),
        "linear_branch": head_start,
        "linear_weight": mixing,
        "calibration_error": about["calibration"].get("expected_calibration_error"),
        "validation": {
            f"{relation} {kind}": found.ndcg(unwritten)
            for (relation, kind), found in validations_of(still_asked, splits, seed).items()
        },
        "device": device.type,
    }


def _supervision(
    labels: Labels | None, observed: TrainingPairs, has_behaviour: torch.Tensor, settings: TrainSettings
) -> Supervision | None:
    if labels is None or settings.llm == 0:
        _LOG.info("labels: none used")
        return None
    _LOG.info("labels: %d by %s", len(labels), ", ".join(sorted(set(labels.model.tolist()))))
    trust = label_trust(labels, observed, len(has_behaviour))
    _LOG.info("labels: followed by %.2f of train.llm, as far as they agree with behaviour", trust)
    return read_supervision(labels, observed, has_behaviour, settings.llm * trust)


def _pose_problem(
    features: ItemFeatures,
    observed: TrainingPairs,
    reliability: torch.Tensor,
    supervision: Supervision | None,
    similar: Graph,
) -> Problem:
    """Weights for propagation and for prediction, from strengths, reliabilities and labels."""
    # Even a doubtful pair keeps half its weight: behaviour is judged by behaviour, and that holds noise too.
    weight = observed.strength * (1 + reliability) / 2
    if supervision is None:
        return Problem(features, observed, weight, weight, similar)
    # Pairs that only the labels know are predicted, never propagated over: they are opinions, not behaviour.
    added = supervision.added
    target_weight = torch.cat([weight * supervision.target_factor(len(observed)), added.strength])
    weight = torch.cat([weight, torch.zeros(len(added), 2)])
    return Problem(features, observed.joined(added), weight, target_weight, similar)
