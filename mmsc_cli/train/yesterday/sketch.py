"""A sketch of a set: enough of it to tell how much of a later set is new, however large both are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Hashes that are kept: a share of them is that of the set, give or take half a percent.
LARGEST = 100_000
_ALL = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Sketch:
    """The smallest hashes of a set, sorted, (hashes,) uint64: all of a small set (Broder, 1997)."""

    hashes: NDArray[np.uint64]

    @classmethod
    def of(cls, hashes: NDArray[np.uint64]) -> Sketch:
        """Of the hashes of a whole set, in any order."""
        return cls(np.unique(hashes)[:LARGEST])

    def share_known(self, hashes: NDArray[np.uint64]) -> float:
        """The share of another set's members, given by their hashes, that are in this one; 0 of an empty set."""
        limit = _ALL if len(self.hashes) < LARGEST else self.hashes[-1]
        asked = hashes[hashes <= limit]
        return float(np.isin(asked, self.hashes).mean()) if len(asked) else 0.0
