"""How network and kNN-transfer are weighed against each other for items that are not in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import greatest
from mmsc_cli.linear.transfer import transfer_rows
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.known import Known
from mmsc_cli.train.validation import Validation, Validations

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# Of a catalogue that has nothing to choose the weight by.
USUAL_WEIGHT = 4.0


class NetworkScorer:
    """The network alone, as a scorer."""

    def __init__(self, sides: Mapping[Relation, tuple[NDArray[np.float32], NDArray[np.float32]]]) -> None:
        """Take query and key vectors (n_items, dim) of each relation."""
        self._sides = sides

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """(queries, n_items)."""
        query, key = self._sides[relation]
        return np.asarray(query[queries] @ key.T)


def transfer_weights(network: Scorer, known: Known, validations: Validations, keep: int) -> dict[str, float]:
    """How much of kNN-transfer to mix in for new items, per relation; cold validation items stand for them."""
    weights = {}
    for relation in RELATIONS:
        validation = validations[relation, "cold"]
        # Rows of the items that are asked for, empty ones for all others.
        asked = np.zeros(len(known.catalogue), np.float32)
        asked[validation.queries] = 1
        those = sparse.csr_array(sparse.diags_array(asked) @ known.similar)
        rows = greatest(transfer_rows(those, known.adjacency[relation]), keep)
        weights[str(relation)] = choose_weight(validation, network, rows)
    return weights


def choose_weight(validation: Validation, network: Scorer, rows: sparse.csr_array[Any]) -> float:
    """The weight of sparse rows beside the network with the best validation NDCG@10."""
    if not len(validation.queries):
        return USUAL_WEIGHT
    gains = np.zeros(len(WEIGHTS))
    for queries in validation.chunks():
        scores, extra = network.scores(validation.relation, queries), rows[queries].toarray()
        for number, weight in enumerate(WEIGHTS):
            mixed = np.asarray(scores + weight * extra, dtype=np.float32)
            gains[number] += validation.figures(queries, mixed).sum()
    return WEIGHTS[int(gains.argmax())]
