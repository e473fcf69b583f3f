"""The first stage: network and linear branch, added. Its best few hundred answers are the second stage's candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.tables.relations import Relation


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
