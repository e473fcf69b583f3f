"""What is known of a query item and a candidate, as the numbers that the ranker reads.

All of it comes from one look at the catalogue (`Known`). Behaviour speaks through shared neighbours, in several ways,
since the lists of a shop are directed and end somewhere: who lists both, whom both list, over whom a path leads, which
partners outside the catalogue both have, and what items are related to that look alike or share such partners.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.rows import divide, reciprocal
from mmsc_cli.arrays.sparse_rows import best_entries, entries_at
from mmsc_cli.model.category import CategoryAffinity
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.known import Known
from mmsc_cli.train.linear_branch import LinearRows, Sparse

# Items that share the most outside partners with an item, whose relations it borrows.
OUTSIDE_NEIGHBOURS = 30
# Short chunks take longer in a large catalogue; long ones have temporary arrays that the system clears anew each time.
SCRATCH_CELLS = 1 << 24
LARGEST_CHUNK = 128
LARGEST = 2**31 - 1


class Evidence:
    """Evidence for pairs of a query and a candidate."""

    def __init__(self, known: Known) -> None:
        """Take one look at the catalogue."""
        self.known = known
        self._looked_up = [
            matrix
            for relation in RELATIONS
            for scored in _scores_and_ranks(known.linear[relation])
            for matrix in (scored, _csr(scored.T))
        ]
        self._by_content = [
            scored for relation in RELATIONS for scored in _scores_and_ranks(known.by_content[relation])
        ]
        self._walks = _walks(known)
        leaf = known.catalogue.paths.max(axis=1)
        self.affinity = {relation: CategoryAffinity(known.adjacency[relation], leaf) for relation in RELATIONS}
        self._brand = known.catalogue.items.brand.numpy()
        self._price = known.catalogue.items.price.numpy()
        self._own = _own(known)
        self._memory = threading.local()
        self.chunk = max(16, min(LARGEST_CHUNK, SCRATCH_CELLS // len(known.catalogue)))

    def of(self, queries: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        """Evidence (queries, candidates, features).

        Args:
            queries: item rows (queries,), at most `chunk` of them.
            candidates: item rows (queries, candidates), -1 where there is none; what is said of none means nothing.
        """
        candidates = np.maximum(candidates, 0)
        columns = [column for _, group in self._groups(queries, candidates) for column in group]
        asking = np.broadcast_to(self._own[queries][:, None], (*candidates.shape, self._own.shape[1]))
        return np.concatenate(
            [np.stack(columns, axis=2).astype(np.float32, copy=False), asking, self._own[candidates]], axis=2
        )

    def from_metadata(self) -> NDArray[np.bool_]:
        """Which features (features,) say what the items are; the others say what shoppers did."""
        groups = self._groups(np.zeros(1, np.int64), np.zeros((1, 1), np.int64))
        of_pairs = [is_item for is_item, group in groups for _ in group]
        return np.array(of_pairs + [False] * (2 * self._own.shape[1]))

    def _groups(
        self, queries: NDArray[np.int64], candidates: NDArray[np.int64]
    ) -> list[tuple[bool, list[NDArray[Any]]]]:
        """Features of pairs (queries, candidates) in their order, and whether a group says what the items are."""
        a = queries[:, None]
        linear = [self.entries(matrix[queries], candidates) for matrix in self._looked_up]
        walks = [
            np.log1p(10 * self.entries(left[queries] @ right, candidates)) if right.nnz else _nothing(candidates)
            for left, right in self._walks
        ]
        content = [_dots(vectors, queries, candidates) for vectors in self.known.catalogue.content]
        by_content = [self.entries(matrix[queries], candidates) for matrix in self._by_content]
        affinity = [affinity.log_ratio(a, candidates) for affinity in self.affinity.values()]
        path, paths = self.known.catalogue.paths[queries][:, None], self.known.catalogue.paths[candidates]
        both_known = self._price[a, 1] * self._price[candidates, 1]
        dearer = (self._price[candidates, 0] - self._price[a, 0]) * both_known
        shared_path = ((path == paths) & (path > 0)).sum(axis=2)
        same_brand = (self._brand[a] == self._brand[candidates]) & (self._brand[a] > 0)
        price = [dearer, np.abs(dearer), both_known]
        return [
            (False, [*linear, *walks]),
            (True, [*content, *by_content, *affinity, shared_path, same_brand, *price]),
            # What is much for one item is little for another, so where the candidate stands among the query's.
            (False, [_standing(column) for column in (*linear[::2], *walks[:2])]),
            (True, [_standing(column) for column in (content[0], *by_content[::2])]),
        ]

    def linear_column(self, relation: Relation) -> int:
        """The feature that is the linear score of a relation."""
        return 4 * RELATIONS.index(relation)

    def entries(self, rows: Any, candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        """Entries of sparse (queries, n_items) rows at `candidates`; of candidate -1 those of the last item."""
        if not hasattr(self._memory, "scratch"):
            self._memory.scratch = np.zeros((self.chunk, len(self.known.catalogue)), np.float32)
        return entries_at(rows, candidates, self._memory.scratch)


def _scores_and_ranks(answers: LinearRows) -> tuple[Sparse, Sparse]:
    """Scores and reciprocal ranks of the best answers, (n_items, n_items) each."""
    rank = (1 / (1 + np.arange(answers.columns.shape[1]))).astype(np.float32)
    return answers.as_sparse(), answers.as_sparse(np.broadcast_to(rank, answers.columns.shape))


def _walks(known: Known) -> list[tuple[Sparse, Sparse]]:
    """Walks of two steps, as pairs of matrices whose product counts them; busy items in the middle count less.

    The first two stay within one relation.
    """
    adjacency = known.adjacency
    total = np.sum([np.asarray(adjacency[relation].sum(axis=0)).ravel() for relation in RELATIONS], axis=0)
    shared = {relation: _scaled(adjacency[relation], total) for relation in RELATIONS}
    walks = [(adjacency[relation], shared[relation]) for relation in RELATIONS]
    walks += [(adjacency[first], shared[second]) for first in RELATIONS for second in RELATIONS if first != second]
    alike = _share_outside(known)
    for relation in RELATIONS:
        ahead = known.lists[relation]
        back = _csr(ahead.T)
        listing, listed = (np.log(2 + np.diff(matrix.indptr)) for matrix in (ahead, back))
        from_lister, to_lister = _scaled(ahead, listing), _scaled(back, listing)
        walks += [(back, from_lister), (ahead, _scaled(back, listed)), (ahead, from_lister), (back, to_lister)]
        degree = np.asarray(adjacency[relation].sum(axis=0)).ravel()
        damped = _csr(adjacency[relation] @ sparse.diags_array(reciprocal(np.sqrt(degree))))
        walks += [(near, damped) for near in (known.similar, known.look_alikes, alike)]
        walks += [(_csr(damped.T), _csr(near.T)) for near in (known.similar, known.look_alikes, alike)]
        outside = known.outside[relation]
        sharing = np.log(2 + np.bincount(outside.indices, minlength=outside.shape[1]))
        counted = _csr(outside > 0).astype(np.float32)
        walks += [(outside, _scaled(_csr(outside.T), sharing)), (counted, _csr(counted.T))]
    return walks


def _share_outside(known: Known) -> Sparse:
    """The items that share the most outside partners with each item, rows summing to one."""
    n_items = len(known.catalogue)
    partners = _csr(sparse.hstack([known.outside[relation] for relation in RELATIONS]))
    if not partners.nnz:
        return _csr(sparse.coo_array((n_items, n_items), dtype=np.float32))
    rarity = 1 / np.sqrt(np.log(2 + np.bincount(partners.indices, minlength=partners.shape[1])))
    weighted = _csr(partners @ sparse.diags_array(rarity.astype(np.float32)))
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    unit = _scaled(weighted, length)
    others = _csr(unit.T)
    blocks = []
    for start in range(0, n_items, 1_024):
        columns, values = best_entries(_csr(unit[start : start + 1_024] @ others), OUTSIDE_NEIGHBOURS + 1)
        values[columns == np.arange(start, start + len(columns))[:, None]] = 0
        row, entry = np.nonzero(values)
        share = divide(values, values.sum(axis=1, keepdims=True))
        blocks.append(sparse.csr_array((share[row, entry], (row, columns[row, entry])), shape=(len(columns), n_items)))
    return _csr(sparse.vstack(blocks))


def _own(known: Known) -> NDArray[np.float32]:
    """What is known of an item alone, (n_items, features): degrees, mean strengths, list lengths, modalities."""
    n_items = len(known.catalogue)
    degrees = [np.diff(known.adjacency[relation].indptr) for relation in RELATIONS]
    strengths = [np.asarray(known.adjacency[relation].sum(axis=1)).ravel() for relation in RELATIONS]
    counts = [
        *degrees,
        *(np.diff(known.lists[relation].indptr) for relation in RELATIONS),
        *(np.bincount(known.lists[relation].indices, minlength=n_items) for relation in RELATIONS),
        *(np.diff(known.outside[relation].indptr) for relation in RELATIONS),
    ]
    means = [divide(total, degree) for total, degree in zip(strengths, degrees, strict=True)]
    present = known.catalogue.items.present.numpy().T
    return np.stack([*(np.log1p(count) for count in counts), *means, *present], axis=1).astype(np.float32)


def _csr(matrix: Any) -> Sparse:
    return sparse.csr_array(matrix)


def _scaled(matrix: Sparse, size: NDArray[Any]) -> Sparse:
    """Rows divided by `size`."""
    return _csr(sparse.diags_array(reciprocal(size)) @ matrix)


def _nothing(candidates: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.zeros(candidates.shape, np.float32)


def _dots(
    vectors: NDArray[np.float32], queries: NDArray[np.int64], candidates: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Dot products (queries, candidates) of the vectors (n_items, dim) of queries and their candidates."""
    products = np.empty(candidates.shape, np.float32)
    # One query at a time stays in the processor's cache.
    of_candidates = np.empty((candidates.shape[1], vectors.shape[1]), np.float32)
    for query, row, product in zip(queries, candidates, products, strict=True):
        vectors.take(row, axis=0, out=of_candidates, mode="clip")
        np.dot(of_candidates, vectors[query], out=product)
    return products


def _standing(column: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logarithm of the rank within the query, 0 for the best, and for all where nothing is known of any."""
    # Value and place in one number: numpy sorts such numbers in half the time that it takes to find their order.
    bits = (column + np.float32(0)).view(np.int32)  # of -0 too those of 0
    ascending = np.where(bits < 0, bits ^ np.int32(LARGEST), bits).astype(np.int64)
    keys = (-ascending << 32) | np.arange(column.shape[1])
    keys.sort(axis=1)
    standing = np.empty(column.shape, np.float32)
    logarithms = np.log1p(np.arange(column.shape[1])).astype(np.float32)
    np.put_along_axis(standing, keys & 0xFFFFFFFF, logarithms[None, :], axis=1)
    return standing * column.any(axis=1, keepdims=True)
