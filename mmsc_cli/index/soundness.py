"""Whether an index is one: shapes and types when it is opened, values when they are read.

A workspace may come from a stranger, who can seal anything. What does not fit is a damaged index, never a crash, and
never an answer that is silently wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.relations import CLASSES, RELATIONS

# Types of tensors by the last part of their names: i signed, u unsigned.
_KINDS = {"offsets": "i", "indptr": "i", "indices": "i", "bytes": "u"}


def damaged_index(reason: str) -> WorkspaceError:
    """Return the error of an index of which a value cannot be."""
    return WorkspaceError(f"the index is damaged: {reason}", hint="run `mmsc train` again")


def check_columns(columns: NDArray[Any], n_items: int) -> NDArray[Any]:
    """Return item rows read from an index.

    Raises:
        WorkspaceError: one of them is no row of the catalogue.
    """
    if len(columns) and not 0 <= int(columns.min()) <= int(columns.max()) < n_items:
        raise damaged_index("it names items that are not in the catalogue")
    return columns


def check_scores(scores: NDArray[np.float32]) -> None:
    """Check scores before any of them is left out.

    Raises:
        WorkspaceError: one of them is not a finite number.
    """
    # The extremes of an array with a NaN are NaN.
    if scores.size and not (math.isfinite(scores.min()) and math.isfinite(scores.max())):
        raise damaged_index("scores are not finite numbers")


def check_tensors(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Check that the tensors of an index fit each other.

    Raises:
        ValueError: one of them has another shape or type.
        KeyError: one is missing.
    """
    for name, tensor in tensors.items():
        kind = _KINDS.get(name.rpartition(".")[2])
        if kind and (tensor.ndim != 1 or tensor.dtype.kind != kind):
            raise ValueError(f"{name} is not a list of whole numbers")
    n_items = len(tensors["ids.offsets"]) - 1
    n_known, n_labels = (len(tensors.get(f"{name}.indices", ())) for name in ("known", "labels"))
    _check(tensors, "titles.offsets", "i", (n_items + 1,))
    for relation in RELATIONS:
        dim = tensors[f"{relation}.key"].shape[1:]
        n_linear = len(tensors[f"{relation}.linear.indices"])
        for side in ("query", "key"):
            _check(tensors, f"{relation}.{side}", "f", (n_items, *dim))
        _check(tensors, f"{relation}.linear.indptr", "i", (n_items + 1,))
        _check(tensors, f"{relation}.linear.values", "f", (n_linear,))
        for optional in ("by_distinct", "truth", "behaviour"):
            _check(tensors, f"{relation}.linear.{optional}", "f", (n_linear,), optional=True)
        for kind in ("strength", "reliability"):
            _check(tensors, f"known.{kind}.{relation}", "f", (n_known,), optional=True)
        _check(tensors, f"known.together.{relation}", "i", (n_known,), optional=True)
    _check(tensors, "known.indptr", "i", (n_items + 1,))
    for name, kind in (("price", "f"), ("category", "i"), ("group", "i")):
        _check(tensors, name, kind, (n_items,), optional=True)
    if "labels.indptr" in tensors:
        _check(tensors, "labels.indptr", "i", (n_items + 1,))
        _check(tensors, "labels.probabilities", "f", (n_labels, len(CLASSES)))
        _check(tensors, "labels.model", "i", (n_labels,))
    if "gate" in tensors:
        _check(tensors, "gate", "f", (n_items, 2 * len(RELATIONS), *tensors["gate"].shape[2:3]))
    for name, tensor in tensors.items():
        stem, _, last = name.rpartition(".")
        data = {"offsets": "bytes", "indptr": "indices"}.get(last)
        # Offsets that do not end where their data does, as in a file whose end was overwritten.
        if data and (int(tensor[0]) != 0 or int(tensor[-1]) != len(tensors[f"{stem}.{data}"])):
            raise ValueError(f"{name} and {stem}.{data} do not belong together")


def check_description(about: Mapping[str, Any]) -> None:
    """Check what `index.json` says of an index, as far as answers are made of it.

    Raises:
        ValueError: a value is of another kind.
    """
    calibration = about.get("calibration") or {"scale": (1, 1), "coefficients": ((0, 0),) * 3, "intercepts": (0,) * 3}
    for name, shape in (("scale", (2,)), ("coefficients", (len(CLASSES), 2)), ("intercepts", (len(CLASSES),))):
        values = np.asarray(calibration[name], np.float64)
        if values.shape != shape or not np.isfinite(values).all():
            raise ValueError(f"calibration.{name} is not {shape} numbers")
    if min(map(float, calibration["scale"])) <= 0:
        raise ValueError("calibration.scale is not above 0")
    for name in ("channels", "label_models", "without"):
        if not all(isinstance(text, str) for text in about.get(name, [])):
            raise ValueError(f"{name} is not a list of names")
    neighbours = about.get("neighbours", 1)
    if type(neighbours) is not int or neighbours < 1:
        raise ValueError("neighbours is not a number above 0")
    if not all(isinstance(about.get("pairs", {}).get(relation, 1), int) for relation in RELATIONS):
        raise ValueError("pairs is not a number per relation")
    for relation, graph in about.get("hnsw", {}).items():
        whole = [graph["breadth"], *graph["bytes"]]
        if relation not in RELATIONS or len(whole) != 3 or not all(isinstance(value, int) for value in whole):
            raise ValueError("hnsw does not describe the graphs")
    if not isinstance(about.get("distinct", 0), int | float):
        raise ValueError("distinct is not a number")
    followed = about.get("follow_labels", {})
    if not all(isinstance(followed.get(relation, 0.0), int | float) for relation in RELATIONS):
        raise ValueError("follow_labels is not a number per relation")


def _check(
    tensors: Mapping[str, NDArray[Any]], name: str, kind: str, shape: tuple[int, ...], *, optional: bool = False
) -> None:
    if optional and name not in tensors:
        return
    tensor = tensors[name]
    if tensor.dtype.kind != kind or tensor.shape != shape:
        raise ValueError(f"{name} has the shape {tensor.shape}, not {shape}")
