"""The linear branch: one sparse item-to-item matrix per relation.

EASE, asked with more than the pairs of its relation. An item's neighbourhood is its partners in the relation, those in
the other relation at a discount (an item that few have bought but many have viewed is not unknown), and its content's
nearest neighbours. The last carry items without behaviour: they are asked with their look-alikes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import greatest
from mmsc_cli.linear.ease import Ease, NeighbourhoodEase, with_self
from mmsc_cli.tables.relations import RELATIONS, Relation

# Found on validation (docs/experiments.md, 2026-11-25); strengths are in units of their mean.
OTHER_RELATION: dict[Relation, float] = {"substitute": 0.25, "complement": 0.7}
CONTENT = 1.2
REGULARISATION = 70.0

CHUNK = 512


def linear_rows(
    adjacency: Mapping[Relation, sparse.csr_array[Any]],
    relation: Relation,
    similar: sparse.csr_array[Any],
    largest_ease: int,
    keep: int,
) -> sparse.csr_array[Any]:
    """Linear scores of one relation, (items, items) with at most `keep` entries a row, in units of their spread.

    Args:
        adjacency: symmetric (items, items) strengths of the training pairs, of both relations.
        relation: which one is asked for.
        similar: (items, items) content neighbours among items with behaviour, rows summing to one.
        largest_ease: up to so many items EASE is solved at once, in time of the cube of them; above it column by column
            from nearby items.
        keep: entries kept a row, the greatest.
    """
    items = similar.shape[0]
    near = CONTENT * (similar + similar.T)
    for name in RELATIONS:
        share = 1.0 if name == relation else OTHER_RELATION[relation]
        near = near + adjacency[name] * np.float32(share / _mean_strength(adjacency[name]))
    # Items without behaviour are asked for, but never an answer here: nothing says what they are related to.
    answers = np.flatnonzero(sum(np.diff(matrix.indptr) for matrix in adjacency.values()))
    if not len(answers):
        return greatest(sparse.csr_array(0 * similar), keep)
    inputs = sparse.csr_array(with_self(sparse.csr_array(near, dtype=np.float32))[:, answers])
    rows: Callable[[NDArray[np.int64]], Any]
    if items <= largest_ease:
        rows = Ease(inputs, REGULARISATION).rows
    else:
        rows = NeighbourhoodEase(inputs, REGULARISATION).sparse_rows
    blocks = [greatest(rows(np.arange(start, min(start + CHUNK, items))), keep) for start in range(0, items, CHUNK)]
    found = sparse.csr_array(sparse.vstack(blocks, format="csr"))
    return sparse.csr_array((found.data, answers[found.indices], found.indptr), shape=(items, items))


def _mean_strength(adjacency: sparse.csr_array[Any]) -> float:
    return float(adjacency.data.mean()) if adjacency.nnz else 1.0
