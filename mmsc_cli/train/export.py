"""What training leaves: the tensors of an index, and the model that can take in new items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from mmsc_cli.index.storage import PATH_SEPARATOR, Strings
from mmsc_cli.model.behaviour import CHANNELS
from mmsc_cli.model.features import Attributes
from mmsc_cli.model.mmsc import Mmsc
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.os_errors import writing
from mmsc_cli.tables.edges import Edges
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.loop.data import Problem
from mmsc_cli.train.network import Network
from mmsc_cli.train.ranking.answers import Composed


def index_tensors(items: pa.Table, composed: Mapping[Relation, Composed]) -> dict[str, NDArray[Any]]:
    """The tensors of `index.safetensors` that score and name items."""
    tensors: dict[str, NDArray[Any]] = {}
    for name, column in (("ids", "item_id"), ("titles", "title")):
        tensors[f"{name}.bytes"], tensors[f"{name}.offsets"] = Strings.pack(items[column].to_pylist())
    for relation, scored in composed.items():
        tensors |= {
            f"{relation}.query": scored.query,
            f"{relation}.key": scored.key,
            f"{relation}.linear.indptr": scored.rows.indptr.astype(np.int64),
            f"{relation}.linear.indices": scored.rows.indices.astype(np.int32),
            f"{relation}.linear.values": scored.rows.data,
            f"{relation}.linear.by_distinct": scored.by_distinct.data,
        }
        if scored.by_student is not None:
            tensors[f"{relation}.linear.truth"] = scored.by_student.truth
            tensors[f"{relation}.linear.behaviour"] = scored.by_student.behaviour
    return tensors


def edge_table(pairs: Pairs, reliability: NDArray[np.float32]) -> Edges:
    """The visible pairs with the reliabilities they were given, (pairs, 2) by relation."""
    strength = {relation: pairs.strength(relation) for relation in RELATIONS}
    # A reliability in a relation where the pair was never seen weighs nothing, and would only mislead a reader.
    believed = {
        relation: np.where(strength[relation] > 0, reliability[:, column], np.nan).astype(np.float32)
        for column, relation in enumerate(RELATIONS)
    }
    return Edges(pairs.a, pairs.b, strength, believed)


def model_identity(model: Mmsc) -> str:
    """What tells this model from any other: the sha256 of its weights."""
    whole = sha256()
    for name, tensor in sorted(_state(model).items()):
        whole.update(name.encode())
        whole.update(tensor.numpy().tobytes())
    return whole.hexdigest()


def _state(model: Mmsc) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def write_model(folder: Path, network: Network, attributes: Attributes, about: Mapping[str, Any]) -> None:
    """Write weights as safetensors, and what it takes to build the model again as JSON."""
    identity = model_identity(network.model)
    with writing(folder / "model.safetensors") as path:
        save_file(_state(network.model), path, {"model": identity})
    about = {"shape": asdict(network.shape), "attributes": asdict(attributes), **about, "model": identity}
    write_json(folder / "model.json", about)


def attribute_tensors(items: pa.Table) -> dict[str, NDArray[Any]]:
    """Price, category and group of each item, and the sorted list of whole category paths."""
    paths = [PATH_SEPARATOR.join(path) for path in items["category"].to_pylist()]
    known = sorted(set(paths) - {""})
    number = {"": -1} | {path: label_row for label_row, path in enumerate(known)}
    tensors: dict[str, NDArray[Any]] = {
        "price": items["price"].to_numpy().astype(np.float32),
        "category": np.array([number[path] for path in paths], np.int32),
    }
    groups = items["group"].to_pylist() if "group" in items.column_names else []
    if any(groups):
        numbers = {"": -1, **{group: number for number, group in enumerate(sorted(set(filter(None, groups))))}}
        tensors["group"] = np.array([numbers[group or ""] for group in groups], np.int32)
    tensors["categories.bytes"], tensors["categories.offsets"] = Strings.pack(known)
    return tensors


def behaviour_tensors(pairs: Pairs, reliability: NDArray[np.float32] | None, n_items: int) -> dict[str, NDArray[Any]]:
    """The visible pairs as sparse rows, with strengths, reliabilities, (pairs, 2) or None, and numbers of sessions."""
    indptr, indices, pair = _symmetric_rows(pairs.a, pairs.b, n_items)
    unknown = np.full((len(pairs), len(RELATIONS)), np.nan, np.float32)
    edges = edge_table(pairs, unknown if reliability is None else reliability)
    tensors: dict[str, NDArray[Any]] = {"known.indptr": indptr, "known.indices": indices}
    for relation in RELATIONS:
        tensors[f"known.strength.{relation}"] = edges.strength[relation][pair]
        tensors[f"known.reliability.{relation}"] = edges.reliability[relation][pair]
        if (together := pairs.together(relation)).any():
            tensors[f"known.together.{relation}"] = together[pair]
    return tensors


def label_tensors(labels: Labels, items: int, about: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The annotator's opinions as sparse rows; the names of the annotators go into `about`."""
    indptr, indices, label_row = _symmetric_rows(labels.a, labels.b, items)
    names, number = np.unique(labels.model, return_inverse=True)
    about["label_models"] = names.tolist()
    return {
        "labels.indptr": indptr,
        "labels.indices": indices,
        "labels.probabilities": labels.probabilities()[label_row],
        "labels.model": number.astype(np.int32)[label_row],
    }


@torch.no_grad()
def gate_tensors(model: Mmsc, problem: Problem, about: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """How much each channel counts for each item, (items, relations x sides, channels); their names go into `about`."""
    about["channels"] = list(CHANNELS)
    gates = model.gates(problem.items, problem.everything_seen().degree)
    return {"gate": gates.cpu().numpy().astype(np.float16)}


def _symmetric_rows(
    a: NDArray[Any], b: NDArray[Any], items: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Unordered pairs as rows of both ends, columns sorted: `indptr`, `indices`, and which pair each entry is."""
    rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
    order = np.lexsort((columns, rows))
    indptr = np.searchsorted(rows[order], np.arange(items + 1)).astype(np.int64)
    return indptr, columns[order].astype(np.int32), order % len(a) if len(a) else order
