"""Some items of the catalogue, numbered by their place among them: what a softmax runs over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class Candidates:
    """`rows` (candidates,) of items, ascending and unique."""

    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def places(self, items: NDArray[Any]) -> NDArray[np.int64]:
        """The place of each item among the candidates, -1 of those that are none."""
        place = np.minimum(np.searchsorted(self.rows, items), len(self) - 1)
        return np.where(self.rows[place] == items, place, -1)

    def columns(self, matrix: sparse.csr_array[Any]) -> sparse.csr_array[Any]:
        """A sparse (n, items) matrix as (n, candidates); entries of other items are left out."""
        place = self.places(matrix.indices)
        kept = place >= 0
        pointers = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
        return sparse.csr_array((matrix.data[kept], place[kept], pointers), shape=(matrix.shape[0], len(self)))
