"""The stage: denoise the pairs, train the network, add the linear branch, calibrate, write model and index."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.atomic import atomic_write
from mmsc_cli.edges import write_edges
from mmsc_cli.index import Index, write_index
from mmsc_cli.items import item_splits, read_items
from mmsc_cli.labels import read_labels
from mmsc_cli.model.features import Attributes, Embeddings, ItemFeatures
from mmsc_cli.model.graph import Graph, neighbour_graph
from mmsc_cli.model.mmsc import Mmsc, Shape, Vectors
from mmsc_cli.model.neighbours import nearest_items, semantic_vectors
from mmsc_cli.pairs import Pairs, read_pairs
from mmsc_cli.progress import SILENT, Progress
from mmsc_cli.recipe.settings import Part, TrainSettings
from mmsc_cli.relations import RELATIONS, Relation
from mmsc_cli.seeds import derive_seed, numpy_generator
from mmsc_cli.train.calibrate import calibrate
from mmsc_cli.train.denoise import collect_evidence, fit_reliability
from mmsc_cli.train.evidence import attribute_tensors, behaviour_tensors, gate_tensors, label_tensors
from mmsc_cli.train.export import edge_table, index_tensors, model_identity, write_model
from mmsc_cli.train.linear_branch import choose_weight, linear_rows
from mmsc_cli.train.pairs import TrainingPairs
from mmsc_cli.train.reliability import EdgeReliability
from mmsc_cli.train.supervision import Supervision, read_supervision
from mmsc_cli.train.trainer import Problem, fit
from mmsc_cli.train.validation import Kind, Validation
from mmsc_cli.workspace import Workspace

_LOG = logging.getLogger("mmsc_cli")
KINDS: tuple[Kind, ...] = ("warm", "cold")


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
        progress: who watches.

    Returns:
        Counts and validation figures for the manifest.
    """
    torch.manual_seed(derive_seed(seed, "weights"))
    items = read_items(workspace.path("items.parquet"))
    pairs = read_pairs(workspace.path("pairs.parquet"))
    splits = item_splits(items)
    embeddings = Embeddings.open(workspace.path("embeddings"))
    attributes = Attributes.fit(items)
    features = attributes.features(items, embeddings.text, embeddings.image, np.asarray(embeddings.mask), without)
    observed = TrainingPairs.of(pairs)
    has_behaviour = observed.touched(len(items))
    semantic = semantic_vectors(features.text, features.image, features.present)
    neighbours, similarity = nearest_items(
        semantic, semantic, has_behaviour, settings.neighbours, torch.arange(len(items))
    )

    supervision = _supervision(None if "llm" in without else labels, observed, has_behaviour, settings)
    reliability = torch.ones_like(observed.strength)
    if "denoise" not in without:
        evidence = collect_evidence(features, semantic, observed)
        reliability = fit_reliability(EdgeReliability(), evidence, observed, supervision, seed, progress)
    similar = neighbour_graph(neighbours, similarity, len(items))
    problem = _pose_problem(features, observed, reliability, supervision, similar).to(device)

    widths = (features.text.shape[1], features.image.shape[1])
    shape = Shape(len(items), *widths, len(attributes.categories), len(attributes.brands), settings.dim)
    network = Mmsc(shape, without).to(device)
    validations = {
        (relation, kind): Validation(pairs, splits, relation, kind, numpy_generator(seed, f"valid/{relation}/{kind}"))
        for relation in RELATIONS
        for kind in KINDS
    }
    fitted = fit(
        network,
        problem,
        settings,
        lambda vectors: _figures(vectors, validations),
        seed,
        use_agreement="denoise" not in without,
        progress=progress,
    )

    linear, mixing = _mix_linear(
        pairs, similar.as_sparse(), _NetworkScorer(fitted.vectors), validations, settings, progress
    )
    about: dict[str, Any] = {"items": len(items), "dim": settings.dim, "seed": seed, "without": list(without)}
    about["model"] = model_identity(network)
    tensors = index_tensors(items, fitted.vectors, linear)
    tensors |= attribute_tensors(items)
    tensors |= behaviour_tensors(pairs, reliability.numpy() if "denoise" not in without else None, len(items))
    tensors |= gate_tensors(network, problem, about)
    if labels is not None and "llm" not in without:
        tensors |= label_tensors(read_labels(labels), len(items), about)
    unwritten = Index(tensors, about)
    figures = {f"{relation} {kind}": found.ndcg(unwritten) for (relation, kind), found in validations.items()}
    about["linear_weight"] = mixing
    about["calibration"] = calibrate(unwritten, pairs, splits == "warm", numpy_generator(seed, "calibrate"))
    write_index(index, tensors, about)
    about_model = {"seed": seed, "without": list(without), "settings": settings.model_dump()}
    if "denoise" not in without:
        write_edges(model / "edges.parquet", edge_table(observed, reliability))
    write_model(model, network, fitted.lendable, shape, attributes, about_model)
    with atomic_write(model / "metrics.jsonl") as file:
        file.write("".join(json.dumps(epoch) + "\n" for epoch in fitted.history).encode())
    return {
        "epochs": len(fitted.history),
        "training_pairs": len(observed),
        "labelled_pairs": len(supervision.on_pairs) if supervision else 0,
        "added_pairs": len(supervision.added) if supervision else 0,
        "without": list(without),
        "linear_weight": mixing,
        "calibration_error": about["calibration"].get("expected_calibration_error"),
        "validation": figures,
        "device": device.type,
    }


def _supervision(
    path: Path | None, observed: TrainingPairs, has_behaviour: torch.Tensor, settings: TrainSettings
) -> Supervision | None:
    if path is None or settings.llm == 0:
        _LOG.info("labels: none used")
        return None
    labels = read_labels(path)
    _LOG.info("labels: %d by %s", len(labels), ", ".join(sorted(set(labels.model.tolist()))))
    return read_supervision(labels, observed, has_behaviour, settings.llm)


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


def _mix_linear(
    pairs: Pairs,
    nearest: sparse.csr_array[Any],
    network: _NetworkScorer,
    validations: dict[tuple[Relation, Kind], Validation],
    settings: TrainSettings,
    progress: Progress,
) -> tuple[dict[Relation, sparse.csr_array[Any]], dict[str, dict[str, float]]]:
    """The weighted rows of the linear branch, per relation, and the weights, per relation and kind of item."""
    linear: dict[Relation, sparse.csr_array[Any]] = {}
    mixing: dict[str, dict[str, float]] = {}
    for relation in RELATIONS:
        with progress.task(f"Linear branch: {relation}"):
            adjacency = pairs.of("train").adjacency(relation, nearest.shape[0])
            rows = linear_rows(adjacency, nearest, settings.linear_items, settings.linear_top)
        chosen: dict[str, float] = {kind: choose_weight(validations[relation, kind], network, rows) for kind in KINDS}
        is_warm = np.diff(adjacency.indptr) > 0
        factor = np.where(is_warm, chosen["warm"], chosen["cold"]).astype(np.float32)
        linear[relation] = sparse.csr_array(sparse.diags_array(factor) @ rows)
        mixing[relation] = chosen
    return linear, mixing


def _figures(vectors: Vectors, validations: dict[tuple[Relation, Kind], Validation]) -> dict[str, float]:
    found = {}
    network = _NetworkScorer(vectors)
    for (relation, kind), validation in validations.items():
        value = validation.ndcg(network)
        if value is not None:
            found[f"{relation}_{kind}"] = value
    found["ndcg@10"] = float(np.mean(list(found.values()))) if found else 0.0
    return found


class _NetworkScorer:
    """The network alone, as a scorer."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = {
            relation: tuple(tensor.cpu().numpy() for tensor in sides) for relation, sides in vectors.items()
        }

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """(queries, items)."""
        query, key = self._vectors[relation]
        return np.asarray(query[queries] @ key.T)
