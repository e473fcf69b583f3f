"""The true relations: every pair of items that the written rules make substitutes or complements.

Substitutes: same product type, same values of the attributes in `substitute_on`, near price tiers.
Complements: an edge of the compatibility graph, same value of its attribute, near price tiers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.prepare.sources.demo.shop import ATTRIBUTE_INDEX, COMPATIBILITY, NEAR_TIERS, PRODUCT_TYPES, TYPE_INDEX
from mmsc_cli.prepare.sources.demo.stock import Stock
from mmsc_cli.tables.truth import TRUTH_SCHEMA


@dataclass(frozen=True)
class TruePairs:
    """True pairs; every array has shape (pairs of that relation,).

    Substitutes are listed once, as `first` < `second`. Complements as `main` and `accessory`; where `mutual`,
    neither end is the main one.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    main: NDArray[np.int64]
    accessory: NDArray[np.int64]
    mutual: NDArray[np.bool_]


def true_relations(stock: Stock) -> TruePairs:
    """Apply the rules to a stock. Memory and time follow the number of true pairs."""
    of_type = [np.flatnonzero(stock.product_type == index) for index in range(len(PRODUCT_TYPES))]
    alike = []
    for kind, rows in zip(PRODUCT_TYPES, of_type, strict=True):
        keys = stock.values[rows][:, [ATTRIBUTE_INDEX[name] for name in kind.substitute_on]]
        first, second = _agreeing(stock, rows, keys, rows, keys)
        alike.append((first[first < second], second[first < second]))
    together = []
    for edge in COMPATIBILITY:
        mains, accessories = of_type[TYPE_INDEX[edge.main]], of_type[TYPE_INDEX[edge.accessory]]
        value = stock.values[:, [ATTRIBUTE_INDEX[edge.on]]]
        main, accessory = _agreeing(stock, mains, value[mains], accessories, value[accessories])
        together.append((main, accessory, np.full(len(main), edge.mutual)))
    first, second = (np.concatenate(column) for column in zip(*alike, strict=True))
    main, accessory, mutual = (np.concatenate(column) for column in zip(*together, strict=True))
    return TruePairs(first, second, main, accessory, mutual)


def _agreeing(
    stock: Stock,
    left: NDArray[np.int64],
    left_keys: NDArray[np.int64],
    right: NDArray[np.int64],
    right_keys: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of a `left` and a `right` item with equal keys and near price tiers."""
    _, group = np.unique(np.concatenate([left_keys, right_keys]), axis=0, return_inverse=True)
    left_group, right_group = group[: len(left)], group[len(left) :]
    order = np.argsort(right_group, kind="stable")
    start = np.searchsorted(right_group[order], left_group, side="left")
    count = np.searchsorted(right_group[order], left_group, side="right") - start
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    repeated = np.repeat(left, count)
    other = right[order][np.repeat(start, count) + within]
    near = np.abs(stock.tier[repeated] - stock.tier[other]) <= NEAR_TIERS
    return repeated[near], other[near]


def truth_table(truth: TruePairs) -> pa.Table:
    """The true pairs as a table of TRUTH_SCHEMA, sorted by (a, b)."""
    flipped = truth.main > truth.accessory
    a = np.concatenate([truth.first, np.minimum(truth.main, truth.accessory)])
    b = np.concatenate([truth.second, np.maximum(truth.main, truth.accessory)])
    substitute = np.arange(len(a)) < len(truth.first)
    towards = np.where(truth.mutual, "both", np.where(flipped, "b_to_a", "a_to_b"))
    order = np.lexsort((b, a))
    direction = pa.concat_arrays([pa.nulls(len(truth.first), pa.string()), pa.array(towards, pa.string())])
    return pa.table(
        {
            "a": pa.array(a[order].astype(np.int32)),
            "b": pa.array(b[order].astype(np.int32)),
            "substitute": pa.array(substitute[order]),
            "complement": pa.array(~substitute[order]),
            "direction": direction.take(pa.array(order)),
        },
        schema=TRUTH_SCHEMA,
    )
