"""The answers to an item that the index lacks: those of its look-alikes, and the look-alikes themselves.

A look-alike's list was ranked by all that is known of it, its partners and the student of labels included. So the mean
of a few such lists answers for an unknown item nearly as well as a list of its own (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.rows import divide
from mmsc_cli.index.following import scores_of, shares_of
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.ranking import Additions
from mmsc_cli.index.soundness import check_scores
from mmsc_cli.tables.relations import Relation

# What an item's look-alikes count together as substitutes, where their lists count 1.
THEMSELVES = 0.05


@dataclass(frozen=True)
class LookAlikes:
    """The items most like an item: `rows` (look-alikes,), `weights` that sum to one, and which say the `same`.

    What says the same as the item is its first substitute, and no complement.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float32]
    same: NDArray[np.bool_]


def borrow(index: Index, relation: Relation, alike: LookAlikes) -> tuple[NDArray[np.float32], Additions]:
    """The query vector (dim,) and the additions that answer for an item, as those of an item of the index do.

    What no look-alike lists follows behind, in the order of their vectors.

    Args:
        index: that has the look-alikes.
        relation: the relation.
        alike: the look-alikes.
    """
    side = index.vectors(relation)
    vector = np.asarray(alike.weights @ side.query[alike.rows], np.float32)
    listed = [_list(index, relation, row) for row in alike.rows.tolist()]
    shares = [weight * divide(own, own.sum()) for weight, (_, own) in zip(alike.weights, listed, strict=True)]
    if relation == "substitute":
        listed.append((alike.rows, np.zeros(0)))
        shares.append(THEMSELVES * alike.weights + alike.same)
    rows, place = np.unique(np.concatenate([rows for rows, _ in listed]), return_inverse=True)
    total = np.bincount(place, np.concatenate(shares), minlength=len(rows))
    if relation == "complement":
        total[np.isin(rows, alike.rows[alike.same])] = 0
    values = scores_of(divide(total, total.sum())) - side.key[rows] @ vector
    # An index answers from the first additions, so the best come first.
    order = np.lexsort((rows, -total))
    return vector, (rows[order].astype(np.int32), values[order])


def _list(index: Index, relation: Relation, row: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The candidates of an item of the index, and their shares; known partners have at most 1."""
    side = index.vectors(relation)
    columns, added = side.linear.entries(row)
    scores = side.key[columns] @ side.query[row] + added
    check_scores(scores)
    return columns.astype(np.int64), np.minimum(shares_of(scores), 1)
