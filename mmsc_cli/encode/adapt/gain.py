"""What an adaptation gains: how far up the nearest items held-out partners are, before and after it.

The queries are the items that `prepare` held out for validation, whose partners are warm items; in a split without such
items, the warm items with held-out pairs. No adapter learns from their pairs, and no test pair is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.rows import unit_rows
from mmsc_cli.metrics.retrieval import NDCG, catalogue_figures
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation

_QUERIES = 1_000
_CELLS = 1 << 25


def held_out_ndcg(
    sides: Sequence[NDArray[np.floating]], pairs: Pairs, item_splits: NDArray[np.str_], seed: int
) -> dict[Relation, tuple[float, int]]:
    """Rank warm items by the sum of their cosines to a held-out item.

    Args:
        sides: vectors by modality, (n_items, dim) each, unit rows or zero.
        pairs: the pair table; its validation pairs are the right answers, its training pairs are left out.
        item_splits: (n_items,), as `mmsc_cli.tables.items.item_splits`.
        seed: of the queries that are drawn where there are more than 1,000.

    Returns:
        NDCG@10 and number of queries, by relation; relations without queries are left out.
    """
    n_items, warm = len(item_splits), item_splits == "warm"
    asked = item_splits == "cold_valid" if (item_splits == "cold_valid").any() else warm
    found: dict[Relation, tuple[float, int]] = {}
    for relation in RELATIONS:
        right = _to_warm(pairs.of("valid"), relation, warm)
        queries = np.flatnonzero(asked & (np.diff(right.indptr) > 0))
        if not len(queries):
            continue
        rng = numpy_generator(seed, f"adapt/gain/{relation}")
        queries = np.sort(rng.permutation(queries)[:_QUERIES])
        known = _to_warm(pairs.of("train"), relation, warm)
        figures = []
        for chunk in np.array_split(queries, -(-len(queries) * n_items // _CELLS)):
            scores = np.zeros((len(chunk), n_items), np.float32)
            for side in sides:
                scores += unit_rows(np.asarray(side[chunk], np.float32)) @ np.asarray(side, np.float32).T
            scores[:, ~warm] = -np.inf
            scores[np.arange(len(chunk)), chunk] = -np.inf
            # A pair of both relations may be of two splits in a table made elsewhere.
            masked = sparse.csr_array(known[chunk] > right[chunk])
            figures.append(catalogue_figures(scores, right[chunk], masked)[:, NDCG])
        found[relation] = float(np.concatenate(figures).mean()), len(queries)
    return found


def _to_warm(pairs: Pairs, relation: Relation, warm: NDArray[np.bool_]) -> sparse.csr_array[Any]:
    """The partners of each item that are warm, boolean (n_items, n_items)."""
    adjacency = pairs.adjacency(relation, len(warm), weighted=False)
    kept = sparse.csr_array(adjacency @ sparse.diags_array(warm.astype(np.float32)))
    kept.eliminate_zeros()
    return sparse.csr_array(kept > 0)
