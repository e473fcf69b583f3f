"""How network and sparse rows are weighed against each other, on validation: for each relation and kind of item.

The first stage: network and linear branch, added. Its best few hundred answers are the second stage's candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import greatest
from mmsc_cli.linear.transfer import transfer_rows
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.model.mmsc import Vectors
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.validation import KINDS, Kind, Validation


@dataclass(frozen=True)
class FirstStage:
    """Per relation: query and key vectors (items, dim), linear rows (items, items), their weight by query (items,)."""

    query: Mapping[Relation, NDArray[np.float32]]
    key: Mapping[Relation, NDArray[np.float32]]
    linear: Mapping[Relation, sparse.csr_array[Any]]
    weight: Mapping[Relation, NDArray[np.float32]]

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """(queries, items)."""
        products = self.query[relation][queries] @ self.key[relation].T
        linear = self.linear[relation][queries].toarray() * self.weight[relation][queries, None]
        return np.asarray(products + linear, dtype=np.float32)

    def weighted(self, relation: Relation) -> sparse.csr_array[Any]:
        """The linear rows as they are added, (items, items)."""
        return sparse.csr_array(sparse.diags_array(self.weight[relation]) @ self.linear[relation])


WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
Validations = Mapping[tuple[Relation, Kind], Validation]


class NetworkScorer:
    """The network alone, as a scorer."""

    def __init__(self, vectors: Vectors) -> None:
        self.query = {relation: query.cpu().numpy() for relation, (query, _) in vectors.items()}
        self.key = {relation: key.cpu().numpy() for relation, (_, key) in vectors.items()}

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """(queries, items)."""
        return np.asarray(self.query[relation][queries] @ self.key[relation].T)


class RowsScorer:
    """Sparse rows alone, as a scorer."""

    def __init__(self, rows: Mapping[Relation, sparse.csr_array[Any]]) -> None:
        self._rows = rows

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """(queries, items)."""
        return np.asarray(self._rows[relation][queries].toarray(), dtype=np.float32)


def mix(
    network: NetworkScorer,
    linear: Mapping[Relation, sparse.csr_array[Any]],
    has_behaviour: NDArray[np.bool_],
    validations: Validations,
) -> tuple[FirstStage, dict[str, dict[str, float]]]:
    """The first stage, and the weights of its linear rows, per relation and kind of item."""
    chosen = {
        relation: {kind: choose_weight(validations[relation, kind], network, linear[relation]) for kind in KINDS}
        for relation in RELATIONS
    }
    weight = {
        relation: np.where(has_behaviour, kinds["warm"], kinds["cold"]).astype(np.float32)
        for relation, kinds in chosen.items()
    }
    return FirstStage(network.query, network.key, linear, weight), {
        str(relation): {str(kind): weight for kind, weight in kinds.items()} for relation, kinds in chosen.items()
    }


def transfer_weights(
    network: NetworkScorer, pairs: Pairs, similar: sparse.csr_array[Any], validations: Validations, keep: int
) -> dict[str, float]:
    """How much of kNN-transfer to mix in for items that are not in the catalogue, per relation.

    They cannot be asked of the linear branch, which was fitted without them; cold validation items stand for them.
    """
    training, weights = pairs.of("train"), {}
    for relation in RELATIONS:
        validation = validations[relation, "cold"]
        # Rows of the items that are asked for, empty ones for all others.
        asked = np.zeros(similar.shape[0], np.float32)
        asked[validation.queries] = 1
        those = sparse.csr_array(sparse.diags_array(asked) @ similar)
        rows = greatest(transfer_rows(those, training.adjacency(relation, len(asked))), keep)
        weights[str(relation)] = choose_weight(validation, network, rows)
    return weights


def choose_weight(validation: Validation, network: Scorer, rows: sparse.csr_array[Any]) -> float:
    """The weight of sparse rows beside the network with the best validation NDCG@10; 0 where there is no query."""
    if not len(validation.queries):
        return 0.0
    gains = np.zeros(len(WEIGHTS))
    for queries in validation.chunks():
        scores, extra = network.scores(validation.relation, queries), rows[queries].toarray()
        for place, weight in enumerate(WEIGHTS):
            mixed = np.asarray(scores + weight * extra, dtype=np.float32)
            gains[place] += validation.figures(queries, mixed).sum()
    return WEIGHTS[int(gains.argmax())]
