"""The linear branch: for each relation, the best partners of every item by linear item-to-item weights.

EASE, fitted from the nearest items, on more than the pairs of its relation. The row of an item holds its partners in
the relation, those in the other relation at a discount (an item that few have bought but many have viewed is not
unknown), and its nearest neighbours by content. The last carry items without behaviour: they are asked with their
look-alikes alone. Partners outside the catalogue are further rows: two items that share many of them are close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import best_entries, spread
from mmsc_cli.linear.ease import with_self
from mmsc_cli.linear.neighbourhood_ease import fit_weights
from mmsc_cli.runtime.parallel import map_blocks
from mmsc_cli.tables.relations import RELATIONS, Relation

Sparse: TypeAlias = "sparse.csr_array[Any]"  # scipy before 1.14 cannot subscript it at run time

# Chosen on validation (docs/experiments.md); strengths are in units of their mean.
OTHER_RELATION: dict[Relation, float] = {"substitute": 0.25, "complement": 0.7}
CONTENT = 1.2
REGULARISATION = 70.0
REGULARISATION_WITH_OUTSIDE = 100.0
NEIGHBOURS = 100
CHUNK = 1_024


@dataclass(frozen=True)
class LinearRows:
    """The best answers of each item, the best first, in units of the row's spread.

    `columns` (n_items, keep) int32, -1 where there are fewer; `values` (n_items, keep) float32, 0 there.
    """

    columns: NDArray[np.int32]
    values: NDArray[np.float32]

    def as_sparse(self, values: NDArray[np.float32] | None = None) -> Sparse:
        """The rows as an (n_items, n_items) matrix, of other `values` of the same shape where given."""
        filled = self.columns >= 0
        pointers = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
        entries = (self.values if values is None else values)[filled]
        return sparse.csr_array((entries, self.columns[filled], pointers), shape=(len(self.columns),) * 2)


def linear_rows(
    adjacency: Mapping[Relation, Sparse],
    relation: Relation,
    similar: Sparse,
    outside: Mapping[Relation, Sparse],
    keep: int,
) -> LinearRows:
    """Fit the branch of one relation and ask it about every item.

    Args:
        adjacency: symmetric (n_items, n_items) strengths of the visible pairs, of both relations.
        relation: the one that is asked for.
        similar: (n_items, n_items) content neighbours among items with behaviour, rows summing to one.
        outside: per relation (n_items, n_outside) strengths of visible partners outside the catalogue.
        keep: answers kept for each item.
    """
    n_items = similar.shape[0]
    near = CONTENT * (similar + similar.T)
    shares = {name: 1.0 if name == relation else OTHER_RELATION[relation] for name in RELATIONS}
    for name, share in shares.items():
        near = near + adjacency[name] * np.float32(share / _mean_strength(adjacency[name]))
    # Items without behaviour are asked for, but never an answer: nothing says what they are related to.
    answers = np.flatnonzero(sum(np.diff(matrix.indptr) for matrix in adjacency.values()))
    inputs = sparse.csr_array(with_self(sparse.csr_array(near, dtype=np.float32))[:, answers])
    further = [
        sparse.csr_array(matrix.T * np.float32(shares[name] / _mean_strength(matrix)))[:, answers]
        for name, matrix in outside.items()
        if matrix.nnz
    ]
    regularisation = REGULARISATION_WITH_OUTSIDE if further else REGULARISATION
    weights = fit_weights(sparse.csr_array(sparse.vstack([inputs, *further])), regularisation, NEIGHBOURS)

    def best_answers(start: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        return best_entries(sparse.csr_array(inputs[start : start + CHUNK] @ weights), keep)

    blocks = list(map_blocks(best_answers, range(0, n_items, CHUNK)))
    columns, values = (np.concatenate(part) for part in zip(*blocks, strict=True))
    rows = np.append(answers, -1).astype(np.int32)[columns]  # -1 takes the last: none
    return LinearRows(rows, np.divide(values, spread(values), dtype=np.float32))


def _mean_strength(matrix: Sparse) -> float:
    return float(matrix.data.mean()) if matrix.nnz else 1.0
