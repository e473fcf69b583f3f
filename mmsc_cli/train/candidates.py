"""The items among which a softmax runs, numbered by their place among them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class Candidates:
    """Some items of the catalogue: `rows` (candidates,) their rows, ascending; `place` (items,) int64, -1 for others."""

    rows: torch.Tensor
    place: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor, items: int) -> Candidates:
        """Number the given rows of a catalogue of so many items."""
        place = torch.full((items,), -1, dtype=torch.int64, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        return cls(rows, place)

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self, matrix: sparse.csr_array[Any]) -> sparse.csr_array[Any]:
        """A sparse (rows, items) matrix, all of whose entries are candidates, as (rows, candidates)."""
        place = self._place[matrix.indices]
        return sparse.csr_array((matrix.data, place, matrix.indptr), shape=(matrix.shape[0], len(self)))

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        return self.place.cpu().numpy()
