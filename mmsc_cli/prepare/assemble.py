"""From what a source delivers to the two tables: items sorted by id, directed edges folded into unordered pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.items import ITEM_SCHEMA
from mmsc_cli.pairs import Pairs
from mmsc_cli.prepare.catalogue import Catalogue, Edges
from mmsc_cli.prepare.split import split_items, split_pairs
from mmsc_cli.recipe.settings import SplitSettings
from mmsc_cli.truth import TRUTH_SCHEMA


def assemble(catalogue: Catalogue, split: SplitSettings, seed: int) -> tuple[pa.Table, Pairs, pa.Table | None]:
    """Return the item table, the pair table, and the truth table where there is one.

    Raises:
        InputError: there are no items or no pairs.
    """
    items = catalogue.items
    if len(items) == 0:
        raise InputError("the source has no usable items", hint="look at the counts with `mmsc prepare -v`")
    order = np.asarray(pc.sort_indices(items["item_id"]))
    row_of = np.empty(len(order), np.int64)
    row_of[order] = np.arange(len(order))
    items = items.take(order)
    item_ids = items["item_id"].to_pylist()
    item_splits = split_items(item_ids, split, seed)
    items = items.append_column("split", pa.array(item_splits, pa.string())).cast(ITEM_SCHEMA)

    columns = _fold(catalogue.views, catalogue.purchases, row_of)
    if len(columns["a"]) == 0:
        raise InputError(
            "the source has no pair of items that are both in the catalogue",
            hint="check that the ids in the relations are the ids of the items",
        )
    splits = split_pairs(item_ids, item_splits, columns["a"], columns["b"], split, seed)
    truth = catalogue.truth
    return items, Pairs(**columns, split=splits), None if truth is None else _renumber_truth(truth, row_of)


def _fold(views: Edges, purchases: Edges, row_of: NDArray[np.int64]) -> dict[str, Any]:
    """Unordered pairs in (a, b) order with four strengths; a repeated edge keeps its greatest strength."""
    size = np.int64(len(row_of))
    keys, ends = [], []
    for edges in (views, purchases):
        source, target = row_of[edges.source], row_of[edges.target]
        keys.append(np.minimum(source, target) * size + np.maximum(source, target))
        ends.append(source < target)
    unique = np.unique(np.concatenate(keys))
    columns: dict[str, Any] = {"a": (unique // size).astype(np.int32), "b": (unique % size).astype(np.int32)}
    for kind, edges, key, forward in zip(("view", "buy"), (views, purchases), keys, ends, strict=True):
        place = np.searchsorted(unique, key)
        for direction, mask in (("ab", forward), ("ba", ~forward)):
            strength = np.zeros(len(unique), np.float32)
            np.maximum.at(strength, place[mask], edges.strength[mask])
            columns[f"{kind}_{direction}"] = strength
    return columns


def _renumber_truth(truth: pa.Table, row_of: NDArray[np.int64]) -> pa.Table:
    a, b = row_of[truth["a"].to_numpy()], row_of[truth["b"].to_numpy()]
    swapped = a > b
    turned = {"a_to_b": "b_to_a", "b_to_a": "a_to_b"}
    direction = [
        turned.get(value, value) if swap else value
        for value, swap in zip(truth["direction"].to_pylist(), swapped, strict=True)
    ]
    columns = {
        "a": np.minimum(a, b),
        "b": np.maximum(a, b),
        "substitute": truth["substitute"],
        "complement": truth["complement"],
        "direction": direction,
    }
    table = pa.table(columns).cast(TRUTH_SCHEMA)
    return table.take(np.lexsort((table["b"].to_numpy(), table["a"].to_numpy())))
