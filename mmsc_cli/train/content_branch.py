"""The content branch: for items without behaviour, the best partners by what the items are.

Ridge regression from an item's vectors, categories and brand to its row of partners, in closed form. All
items with behaviour are its examples, so that it learns what goes with a kind of item. Look-alikes alone, which the
linear branch asks, cannot say that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import spread
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.linear_branch import LinearRows, Sparse

REGULARISATION = 10.0
# A category or brand of fewer items tells too little of its kind; of more than so many, the most frequent count.
FEWEST_ITEMS = 5
MOST_ATTRIBUTES = 1_024
# The items with the most partners may be answers; so the time grows with the items that are asked for alone.
MOST_ANSWERS = 20_000
CHUNK = 2_048


class Description:
    """Items as columns to predict from: vectors, categories and brands, and a constant."""

    def __init__(self, items: ItemFeatures, paths: NDArray[np.int64]) -> None:
        """Take metadata, and the category nodes of each item (n_items, depth), 0 for none."""
        self._vectors = [vectors for vectors in items.sides if bool(vectors.any())]
        # So that a vector weighs as much as one category, whatever encoder made it.
        self._scales = [float(len(items) ** 0.5 / torch.linalg.vector_norm(side.float())) for side in self._vectors]
        self._attributes = sparse.csr_array(
            sparse.hstack([_frequent(paths), _frequent(items.brand.numpy()[:, None])], dtype=np.float32)
        )

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(rows, columns)."""
        vectors = [
            side[torch.from_numpy(rows)].float().numpy() * np.float32(scale)
            for side, scale in zip(self._vectors, self._scales, strict=True)
        ]
        constant = np.ones((len(rows), 1), np.float32)
        return np.concatenate([*vectors, self._attributes[rows].toarray(), constant], axis=1)


def content_rows(
    described: Description, adjacency: Mapping[Relation, Sparse], has_behaviour: NDArray[np.bool_], keep: int
) -> dict[Relation, LinearRows]:
    """Fit both relations on the items with behaviour, and ask about the items without.

    Args:
        described: what the items are.
        adjacency: symmetric (n_items, n_items) strengths of the visible pairs, of both relations.
        has_behaviour: (n_items,) which items have a visible pair; the others get answers.
        keep: answers kept for each item.
    """
    n_items = len(has_behaviour)
    known, asked = np.flatnonzero(has_behaviour), np.flatnonzero(~has_behaviour)
    rows = {
        relation: LinearRows(np.full((n_items, keep), -1, np.int32), np.zeros((n_items, keep), np.float32))
        for relation in RELATIONS
    }
    if not (len(known) and len(asked)):
        return rows
    answers, weights = _fit(described, adjacency, known)
    for start in range(0, len(asked), CHUNK):
        queries = asked[start : start + CHUNK]
        columns = torch.from_numpy(described.of(queries))
        for relation in RELATIONS:
            values, best = torch.topk(columns @ weights[relation], min(keep, len(answers)), dim=1)
            likely = np.maximum(values.numpy(), 0)
            found = np.where(likely > 0, answers[best.numpy()], -1)
            rows[relation].columns[queries, : found.shape[1]] = found
            rows[relation].values[queries, : found.shape[1]] = likely / spread(likely)
    return rows


def _fit(
    described: Description, adjacency: Mapping[Relation, Sparse], known: NDArray[np.int64]
) -> tuple[NDArray[np.int64], dict[Relation, torch.Tensor]]:
    """The items that may be answers, and per relation weights (columns, answers)."""
    degree = sum(np.diff(matrix.indptr) for matrix in adjacency.values())
    answers = np.sort(np.argsort(-degree, kind="stable")[: min(MOST_ANSWERS, len(known))])
    partners = {relation: sparse.csr_array(adjacency[relation][:, answers]) for relation in RELATIONS}
    columns = described.of(known[:1]).shape[1]
    gram = torch.eye(columns) * REGULARISATION
    products = {relation: np.zeros((len(answers), columns), np.float32) for relation in RELATIONS}
    for start in range(0, len(known), CHUNK):
        rows = known[start : start + CHUNK]
        seen = described.of(rows)
        gram += torch.from_numpy(seen.T @ seen)
        for relation in RELATIONS:
            products[relation] += sparse.csr_array(partners[relation][rows].T) @ seen
    factor = torch.linalg.cholesky(gram.double()).float()
    return answers, {
        relation: torch.cholesky_solve(torch.from_numpy(products[relation].T), factor) for relation in RELATIONS
    }


def _frequent(nodes: NDArray[np.int64]) -> Sparse:
    """Which of the frequent nodes each item has, (n_items, nodes); `nodes` (n_items, nodes of an item), 0 for none."""
    row, column = np.nonzero(nodes)
    shape = (len(nodes), int(nodes.max(initial=0)) + 1)
    has = sparse.csr_array((np.ones(len(row), np.float32), (row, nodes[row, column])), shape=shape)
    count = np.bincount(has.indices, minlength=shape[1])
    most = np.argsort(-count, kind="stable")[:MOST_ATTRIBUTES]
    return sparse.csr_array(has[:, np.sort(most[count[most] >= FEWEST_ITEMS])])
