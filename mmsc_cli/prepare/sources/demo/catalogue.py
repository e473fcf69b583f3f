"""The demo shop's catalogue in memory, and its delivery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.prepare.records import RECORD_SCHEMA, RELATION_SCHEMA, Delivery


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
    """Items (CATALOGUE_SCHEMA, unique ids), behaviour, and the truth (TRUTH_SCHEMA, ends are rows of `items`)."""

    items: pa.Table
    views: Edges
    purchases: Edges
    truth: pa.Table
    counts: dict[str, Any] = field(default_factory=dict)

    def deliver(self, delivery: Delivery) -> None:
        """Hand it over, as any source does."""
        number = pa.array(np.arange(len(self.items)))
        records = self.items.append_column("record", number).append_column("richness", number)
        for name in ("views", "purchases"):
            records = records.append_column(name, pa.nulls(len(records), pa.list_(pa.string())))
        delivery.add("records", records.select(RECORD_SCHEMA.names).cast(RECORD_SCHEMA))
        delivery.counts["records"] += len(self.items)
        ids = self.items["item_id"]
        for name, edges in (("view", self.views), ("buy", self.purchases)):
            strengths = {
                "view": np.zeros(len(edges.source), np.float32),
                "buy": np.zeros(len(edges.source), np.float32),
            }
            strengths[name] = edges.strength
            relations = {"source": ids.take(edges.source), "target": ids.take(edges.target), **strengths}
            delivery.add("relations", pa.table(relations, schema=RELATION_SCHEMA))
            delivery.counts["relations"] += len(edges.source)
        delivery.notes |= self.counts
        delivery.truth = self.truth
