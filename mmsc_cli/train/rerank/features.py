"""What is known of a query item and a candidate, as the numbers that the second stage ranks by.

All of it comes from training pairs, metadata and the first stage. Behaviour speaks through shared neighbours, in
several ways, since the lists of a shop are directed and end somewhere: who lists both, whom both list, over whom a path
leads, and what look-alikes are related to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.rows import reciprocal
from mmsc_cli.model.category import CategoryAffinity, category_paths
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.blend import FirstStage

Sparse: TypeAlias = "sparse.csr_array[Any]"  # older scipy cannot subscript it at run time
CHUNK_CELLS = 16_000_000


class CandidateEvidence:
    """Evidence for pairs of a query and a candidate."""

    def __init__(self, pairs: Pairs, items: ItemFeatures, similar: Sparse, first: FirstStage) -> None:
        """Take training data and the first stage.

        Args:
            pairs: of which the training pairs are used.
            items: metadata.
            similar: (items, items) content neighbours, rows summing to one.
            first: the first stage.
        """
        count = len(items)
        training = pairs.of("train")
        adjacency = {relation: training.adjacency(relation, count) for relation in RELATIONS}
        self._first = first
        self._looked_up = [
            matrix for relation in RELATIONS for matrix in (first.linear[relation], _csr(first.linear[relation].T))
        ]
        self._walks = _walks(adjacency, {name: training.lists(name, count) for name in RELATIONS}, similar)
        self._paths = category_paths(items)
        leaf = self._paths.max(axis=1)
        self._affinity = [CategoryAffinity(adjacency[relation], leaf) for relation in RELATIONS]
        self._content = [vectors.cpu().numpy() for vectors in (items.text, items.image)]
        self._brand = items.brand.cpu().numpy()
        self._price = items.price.cpu().numpy()
        degree = [np.diff(adjacency[relation].indptr) for relation in RELATIONS]
        strength = [np.asarray(adjacency[relation].sum(axis=1)).ravel() for relation in RELATIONS]
        self._own = np.stack(
            [np.log1p(number) for number in degree]
            + [total / np.maximum(number, 1) for total, number in zip(strength, degree, strict=True)]
            + [items.present[:, column].cpu().numpy() for column in range(2)],
            axis=1,
        ).astype(np.float32)

    def of(self, queries: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        """Evidence (queries, candidates, features) for `queries` (queries,) and `candidates` (queries, candidates)."""
        a = queries[:, None]
        linear = [entries(matrix[queries], candidates) for matrix in self._looked_up]
        walks = [np.log1p(10 * entries(_csr(left[queries] @ right), candidates)) for left, right in self._walks]
        network = []
        for relation in RELATIONS:
            query, key = self._first.query[relation], self._first.key[relation]
            network += [_dots(query[queries], key[candidates]), _dots(key[queries], query[candidates])]
        columns = [*linear, *walks, *network]
        columns += [_dots(vectors[queries], vectors[candidates]) for vectors in self._content]
        columns += [affinity.log_ratio(a, candidates) for affinity in self._affinity]
        path = self._paths[queries][:, None]
        columns.append(((path == self._paths[candidates]) & (path > 0)).sum(axis=2))
        columns.append((self._brand[a] == self._brand[candidates]) & (self._brand[a] > 0))
        both_known = self._price[a, 1] * self._price[candidates, 1]
        dearer = (self._price[candidates, 0] - self._price[a, 0]) * both_known
        columns += [dearer, np.abs(dearer), both_known]
        # Where a candidate stands among those of its query: what is much for one item is little for another.
        # Every other score asks from the query to the candidate, the rest the other way round.
        columns += [_standing(score) for score in (*linear[::2], *network[::2])]
        own = np.broadcast_to(self._own[queries][:, None], (*candidates.shape, self._own.shape[1]))
        return np.concatenate(
            [np.stack(columns, axis=2).astype(np.float32, copy=False), own, self._own[candidates]], axis=2
        )


def _walks(
    adjacency: Mapping[Relation, Sparse], lists: Mapping[Relation, Sparse], similar: Sparse
) -> list[tuple[Sparse, Sparse]]:
    """Walks of two steps, as pairs of matrices whose product counts them; busy items in the middle count less."""
    walks = []
    total = np.sum([np.asarray(adjacency[relation].sum(axis=0)).ravel() for relation in RELATIONS], axis=0)
    shared = {relation: _scaled(adjacency[relation], total) for relation in RELATIONS}
    walks += [(adjacency[first], shared[second]) for first in RELATIONS for second in RELATIONS]
    for relation in RELATIONS:
        ahead = lists[relation]
        back = _csr(ahead.T)
        listing, listed = (np.log(2 + np.diff(matrix.indptr)) for matrix in (ahead, back))
        from_lister, to_lister = _scaled(ahead, listing), _scaled(back, listing)
        walks += [(back, from_lister), (ahead, _scaled(back, listed)), (ahead, from_lister), (back, to_lister)]
        degree = np.asarray(adjacency[relation].sum(axis=0)).ravel()
        damped = _csr(adjacency[relation] @ sparse.diags_array(reciprocal(np.sqrt(degree))))
        walks += [(similar, damped), (_csr(damped.T), _csr(similar.T))]
    return walks


def _scaled(matrix: Sparse, size: NDArray[Any]) -> Sparse:
    """Rows divided by `size`."""
    return _csr(sparse.diags_array(reciprocal(size)) @ matrix)


def _csr(matrix: Any) -> Sparse:
    return sparse.csr_array(matrix)


def entries(rows: Sparse, columns: NDArray[np.int64]) -> NDArray[Any]:
    """The entries of (queries, items) rows at `columns` (queries, candidates)."""
    return np.take_along_axis(rows.toarray(), columns, axis=1)


def _dots(vectors: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float32]:
    """Dot products (queries, candidates) of (queries, dim) with (queries, candidates, dim)."""
    left, right = (side.astype(np.float32, copy=False) for side in (vectors[:, :, None], others))
    products: NDArray[np.float32] = np.matmul(right, left)[:, :, 0]
    return products


def _standing(column: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logarithm of the rank within the query, 0 for the best."""
    order = np.argsort(-column, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(column.shape[1])[None, :], axis=1)
    found: NDArray[np.float32] = np.log1p(rank.astype(np.float32))
    return found
