"""Looking at what a source delivered, and at what was assembled from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.prepare.assemble import assemble
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.settings import SplitSettings
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.outside import Outside
from mmsc_cli.tables.pairs import Pairs

Behaviour = Literal["view", "buy"]
Edges = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Shop:
    """The two tables, by ids."""

    items: pa.Table
    pairs: Pairs
    outside: Outside
    counts: dict[str, Any]
    truth: pa.Table | None

    @property
    def ids(self) -> list[str]:
        """The ids of the items, in the order of rows."""
        return list(self.items["item_id"].to_pylist())

    def edges(self, kind: Behaviour) -> Edges:
        """Strength by (source, target) where there is one."""
        ids, pairs, found = self.ids, self.pairs, {}
        for direction, ends in (("ab", (pairs.a, pairs.b)), ("ba", (pairs.b, pairs.a))):
            for source, target, strength in zip(*ends, getattr(pairs, f"{kind}_{direction}"), strict=True):
                if strength > 0:
                    found[ids[source], ids[target]] = float(strength)
        return found


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    """An empty delivery."""
    folder = tmp_path / "delivery"
    folder.mkdir()
    return Delivery(folder)


@pytest.fixture
def records() -> Callable[[Delivery], list[dict[str, Any]]]:
    """The records of a delivery in their order, less what only the assembling looks at."""

    def read(delivery: Delivery) -> list[dict[str, Any]]:
        table = pa.concat_tables(pq.read_table(path) for path in delivery.parts("records"))
        rows: list[dict[str, Any]] = (
            table.sort_by("record").drop(["record", "group", "richness", "views", "purchases", "kept"]).to_pylist()
        )
        return rows

    return read


@pytest.fixture
def listed() -> Callable[[Delivery, Behaviour], dict[tuple[str, str], int]]:
    """Place by (source, target), of what the records' own lists say."""

    def read(delivery: Delivery, kind: Behaviour) -> dict[tuple[str, str], int]:
        name = {"view": "views", "buy": "purchases"}[kind]
        rows = [row for path in delivery.parts("records") for row in pq.read_table(path).to_pylist()]
        return {(row["item_id"], target): place for row in rows for place, target in enumerate(row[name], start=1)}

    return read


@pytest.fixture
def assembled(tmp_path: Path) -> Callable[..., Shop]:
    """Assemble a delivery."""

    def run(delivery: Delivery, seed: int = 1) -> Shop:
        paths = tmp_path / "items.parquet", tmp_path / "pairs.parquet", tmp_path / "outside.parquet"
        result = assemble(delivery, *paths, SplitSettings(), seed)
        counts = dict(delivery.counts)
        for name, value in result.counts.items():
            counts[name] = counts.get(name, 0) + value if isinstance(value, int) else value
        return Shop(read_items(paths[0]), Pairs.read(paths[1]), Outside.read(paths[2]), counts, result.truth)

    return run
