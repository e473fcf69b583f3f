"""How much the answers of a relation changed between two nights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

PERSISTENCE = 0.9  # of rank-biased overlap: the chance that a reader of one answer also reads the next
TOP = 5
NOTHING = -1


@dataclass(frozen=True)
class AlignedLists:
    """The answers of the queries that both nights have, as item codes by rank.

    `old` and `new` have shape (n_queries, depth); NOTHING fills a list that ends before. `queries` and `items` are
    the ids behind row and code.
    """

    queries: pa.Array
    items: pa.Array
    old: NDArray[np.int64]
    new: NDArray[np.int64]


def align(old: pa.Table, new: pa.Table) -> AlignedLists:
    """Bring the answers of one relation, with columns `query`, `item` and `rank`, onto the same queries and codes."""
    queries = pc.unique(old["query"].combine_chunks())
    queries = queries.filter(pc.is_in(queries, pc.unique(new["query"].combine_chunks())))
    items = pc.unique(pa.concat_arrays([*old["item"].chunks, *new["item"].chunks]))
    depth = max((pc.max(table["rank"]).as_py() or 0) for table in (old, new))
    lists = []
    for table in (old, new):
        ranked = np.full((len(queries), depth), NOTHING, np.int64)
        row = pc.index_in(table["query"], queries)
        known = pc.is_valid(row).to_numpy()
        at = pc.fill_null(row, 0).to_numpy()[known], table["rank"].to_numpy()[known] - 1
        ranked[at] = pc.index_in(table["item"], items).to_numpy()[known]
        lists.append(ranked)
    return AlignedLists(queries, items, *lists)


def changed_by_rank(lists: AlignedLists) -> NDArray[np.float64]:
    """The share of queries whose answer at each rank changed, shape (depth,); of those with an answer there."""
    answered = (lists.old != NOTHING) | (lists.new != NOTHING)
    changed = (lists.old != lists.new) & answered
    shares: NDArray[np.float64] = changed.sum(axis=0) / np.maximum(answered.sum(axis=0), 1)
    return shares


def rank_biased_distance(lists: AlignedLists, depth: int) -> NDArray[np.float64]:
    """1 minus the rank-biased overlap of each query's first `depth` answers, shape (n_queries,); 0: no change.

    Overlap at each depth is weighted by PERSISTENCE and scaled, so that equal lists overlap by 1. Two lists that both
    end before are compared as far as they go. Source: Webber, Moffat, Zobel, "A similarity measure for indefinite
    rankings", 2010.
    """
    old, new = lists.old[:, :depth], lists.new[:, :depth]
    length = np.maximum((old != NOTHING).sum(axis=1), (new != NOTHING).sum(axis=1))
    overlap, weights = np.zeros(len(old)), np.zeros(len(old))
    for d in range(1, old.shape[1] + 1):
        # (n_queries, d, d): every old answer beside every new one.
        same = (old[:, :d, None] == new[:, None, :d]) & (old[:, :d, None] != NOTHING)
        weight = np.where(d <= length, PERSISTENCE ** (d - 1), 0.0)
        overlap += weight * same.any(axis=2).sum(axis=1) / d
        weights += weight
    distance: NDArray[np.float64] = 1 - np.divide(overlap, weights, out=np.ones(len(old)), where=weights > 0)
    return distance


def largest(distance: NDArray[np.float64], count: int) -> Sequence[int]:
    """Rows of the largest distances above 0, the largest first; equal ones in their order."""
    order = np.argsort(-distance, kind="stable")[:count]
    rows: list[int] = order[distance[order] > 0].tolist()
    return rows
