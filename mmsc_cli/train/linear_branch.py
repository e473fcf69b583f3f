"""The linear branch: a sparse item-to-item matrix beside the network, and how much of it to mix in.

Items with training pairs get rows of EASE (of resource allocation where the catalogue is too large for EASE), items
without get kNN-transfer rows from their semantic neighbours. The weights are chosen on validation, for each relation
and for warm and cold items apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.linear.ease import Ease
from mmsc_cli.linear.greatest import greatest
from mmsc_cli.linear.resource_allocation import ResourceAllocation
from mmsc_cli.linear.transfer import transfer_rows
from mmsc_cli.scoring import Scorer
from mmsc_cli.train.validation import Validation

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
CHUNK = 512


def linear_rows(
    adjacency: sparse.csr_array[Any], similar: sparse.csr_array[Any], largest_ease: int, keep: int
) -> sparse.csr_array[Any]:
    """Linear scores of one relation, (items, items) with at most `keep` entries a row, in units of their spread.

    Args:
        adjacency: symmetric (items, items) strengths of the training pairs.
        similar: (items, items) semantic neighbours among warm items, rows summing to one.
        largest_ease: up to so many items EASE is fitted, which takes time in the cube of them.
        keep: entries kept a row, the greatest.
    """
    items = adjacency.shape[0]
    warm = np.flatnonzero(np.diff(adjacency.indptr) > 0)
    cold = np.flatnonzero(np.diff(adjacency.indptr) == 0)
    rows: Callable[[NDArray[np.int64]], Any]
    rows = Ease(adjacency).rows if items <= largest_ease else ResourceAllocation(adjacency).rows
    order = np.concatenate([warm, cold])
    blocks = [greatest(rows(warm[start : start + CHUNK]), keep) for start in range(0, len(warm), CHUNK)]
    blocks += [
        greatest(transfer_rows(similar[cold[start : start + CHUNK]], adjacency), keep)
        for start in range(0, len(cold), CHUNK)
    ]
    place = np.empty(items, np.int64)
    place[order] = np.arange(items)
    stacked = sparse.csr_array(sparse.vstack(blocks, format="csr"))
    return sparse.csr_array(stacked[place])


def choose_weight(validation: Validation, network: Scorer, linear: sparse.csr_array[Any]) -> float:
    """The weight of the linear branch with the best validation NDCG@10; 0 where there is nothing to validate on."""
    if not len(validation.queries):
        return 0.0
    gains = np.zeros(len(WEIGHTS))
    for queries in validation.chunks():
        scores, extra = network.scores(validation.relation, queries), linear[queries].toarray()
        for place, weight in enumerate(WEIGHTS):
            mixed = np.asarray(scores + weight * extra, dtype=np.float32)
            gains[place] += validation.figures(queries, mixed).sum()
    return WEIGHTS[int(gains.argmax())]
