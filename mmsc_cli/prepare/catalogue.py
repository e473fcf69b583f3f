"""What a source delivers, before items are sorted, pairs folded, and both split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.items import ITEM_SCHEMA

CATALOGUE_SCHEMA = pa.schema([column for column in ITEM_SCHEMA if column.name != "split"])


@dataclass(frozen=True)
class Edges:
    """Directed observations of one behaviour: shoppers of `source` also viewed (or bought) `target`.

    All arrays have shape (edges,); `source` and `target` are rows of the catalogue, `strength` is above 0.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    strength: NDArray[np.float32]


@dataclass(frozen=True)
class Catalogue:
    """Items and behaviour as a source knows them.

    `items` has the columns of CATALOGUE_SCHEMA, unique ids, any order. `counts` says what was read and what was
    dropped and why. `truth` has TRUTH_SCHEMA and is there for synthetic data alone: `a < b` are rows of `items`,
    `direction` is `a_to_b`, `b_to_a` or `both` for a complement, else null.
    """

    items: pa.Table
    views: Edges
    purchases: Edges
    counts: dict[str, Any] = field(default_factory=dict)
    truth: pa.Table | None = None
