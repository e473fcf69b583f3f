"""What the index holds beside the scores: attributes to filter by, and the evidence that explanations name.

Writing what training leaves: the index that answers, and the model that can take in new items."""

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
from scipy import sparse

from mmsc_cli.index.storage import PATH_SEPARATOR, Strings
from mmsc_cli.model.behaviour import CHANNELS, Lendable
from mmsc_cli.model.features import Attributes
from mmsc_cli.model.mmsc import Mmsc, Shape
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.os_errors import writing
from mmsc_cli.tables.edges import Edges
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.data import Problem, TrainingPairs


def index_tensors(
    items: pa.Table,
    query: Mapping[Relation, NDArray[np.float32]],
    key: Mapping[Relation, NDArray[np.float32]],
    rows: Mapping[Relation, sparse.csr_array[Any]],
) -> dict[str, NDArray[Any]]:
    """The tensors of `index.safetensors` that score and name items: vectors (items, dim) and sparse rows."""
    tensors: dict[str, NDArray[Any]] = {}
    for name, column in (("ids", "item_id"), ("titles", "title")):
        tensors[f"{name}.bytes"], tensors[f"{name}.offsets"] = Strings.pack(items[column].to_pylist())
    for relation in RELATIONS:
        branch = rows[relation]
        tensors |= {
            f"{relation}.query": query[relation].astype(np.float32),
            f"{relation}.key": key[relation].astype(np.float32),
            f"{relation}.linear.indptr": branch.indptr.astype(np.int64),
            f"{relation}.linear.indices": branch.indices.astype(np.int32),
            f"{relation}.linear.values": branch.data.astype(np.float32),
        }
    return tensors


def edge_table(pairs: TrainingPairs, reliability: torch.Tensor) -> Edges:
    """The training pairs with the reliabilities they were given, (pairs, 2) by relation."""
    strength = pairs.strength.numpy()
    # A reliability in a relation where the pair was never seen weighs nothing, and would only mislead a reader.
    believed = torch.where(pairs.strength > 0, reliability, torch.nan).numpy()
    return Edges(
        pairs.a.numpy().astype(np.int32),
        pairs.b.numpy().astype(np.int32),
        {relation: strength[:, column] for column, relation in enumerate(RELATIONS)},
        {relation: believed[:, column] for column, relation in enumerate(RELATIONS)},
    )


def model_identity(model: Mmsc) -> str:
    """What tells this model from any other: the sha256 of its weights."""
    whole = sha256()
    for name, tensor in sorted(_state(model).items()):
        whole.update(name.encode())
        whole.update(tensor.numpy().tobytes())
    return whole.hexdigest()


def _state(model: Mmsc) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def write_model(
    folder: Path,
    model: Mmsc,
    lendable: Lendable,
    shape: Shape,
    attributes: Attributes,
    about: Mapping[str, Any],
) -> None:
    """Write weights and what items lend as safetensors, and what it takes to build the model again as JSON."""
    identity = model_identity(model)
    with writing(folder / "model.safetensors") as path:
        save_file(_state(model), path, {"model": identity})
    with writing(folder / "lendable.safetensors") as path:
        save_file({name: tensor.cpu().contiguous() for name, tensor in vars(lendable).items()}, path)
    about = {**about, "model": identity}
    write_json(folder / "model.json", {"shape": asdict(shape), "attributes": asdict(attributes), **about})


def attribute_tensors(items: pa.Table) -> dict[str, NDArray[Any]]:
    """Price, category and group of each item, and the sorted list of whole category paths."""
    paths = [PATH_SEPARATOR.join(path) for path in items["category"].to_pylist()]
    known = sorted(set(paths) - {""})
    number = {"": -1} | {path: place for place, path in enumerate(known)}
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


def behaviour_tensors(pairs: Pairs, reliability: NDArray[np.float32] | None, items: int) -> dict[str, NDArray[Any]]:
    """The training pairs as sparse rows, with strengths and reliabilities.

    Args:
        pairs: the pair table.
        reliability: of the training pairs, shape (pairs, 2) by relation; None where none was learned.
        items: how many items there are.
    """
    known = pairs.of("train")
    indptr, indices, place = _symmetric_rows(known.a, known.b, items)
    tensors: dict[str, NDArray[Any]] = {"known.indptr": indptr, "known.indices": indices}
    for column, relation in enumerate(RELATIONS):
        strength = known.strength(relation)
        believed = np.full(len(known), np.nan, np.float32)
        if reliability is not None:
            believed = np.where(strength > 0, reliability[:, column], np.nan).astype(np.float32)
        tensors[f"known.strength.{relation}"] = strength[place]
        tensors[f"known.reliability.{relation}"] = believed[place]
    return tensors


def label_tensors(labels: Labels, items: int, about: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The annotator's opinions as sparse rows; the names of the annotators go into `about`."""
    indptr, indices, place = _symmetric_rows(labels.a, labels.b, items)
    names, number = np.unique(labels.model, return_inverse=True)
    about["label_models"] = names.tolist()
    return {
        "labels.indptr": indptr,
        "labels.indices": indices,
        "labels.probabilities": labels.probabilities()[place],
        "labels.model": number.astype(np.int32)[place],
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
