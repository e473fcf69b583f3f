"""The demo source: stock the shop, send shoppers through it, publish what was seen and what is true."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmsc_cli.prepare.records import CATALOGUE_SCHEMA, RECORD_SCHEMA, Delivery, relation_table
from mmsc_cli.prepare.settings import DemoSource
from mmsc_cli.prepare.sources.demo.drawings import draw_images, has_image
from mmsc_cli.prepare.sources.demo.names import item_ids
from mmsc_cli.prepare.sources.demo.shoppers import BOUGHT, VIEWED, ShopEdges, Shoppers, ranked_lists
from mmsc_cli.prepare.sources.demo.stock import Stock, stock_up
from mmsc_cli.prepare.sources.demo.true_pairs import true_relations, truth_table
from mmsc_cli.prepare.sources.demo.wording import write_texts
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator

NO_PRICE = 0.04


@dataclass(frozen=True)
class DemoCatalogue:
    """Items (CATALOGUE_SCHEMA, unique ids), behaviour, and the truth (TRUTH_SCHEMA, ends are rows of `items`)."""

    items: pa.Table
    views: ShopEdges
    purchases: ShopEdges
    truth: pa.Table
    counts: dict[str, Any] = field(default_factory=dict)

    def deliver(self, delivery: Delivery) -> None:
        """Hand it over, as any source does."""
        number = pa.array(np.arange(len(self.items)))
        records = self.items.append_column("record", number).append_column("richness", number)
        for name in ("views", "purchases", "kept"):
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
            delivery.add("relations", relation_table(relations))
            delivery.counts["relations"] += len(edges.source)
        delivery.notes |= self.counts
        delivery.truth = self.truth


def generate_demo(settings: DemoSource, seed: int, images: Path | None, progress: Progress = SILENT) -> DemoCatalogue:
    """Make a synthetic catalogue with simulated shoppers and its true relations; the same for the same seed.

    Pictures are drawn into the folder `images` (made if need be), unless it is None or `settings.images` is
    off; `image_path` is then `images/<item_id>.png`.

    Raises:
        OSError: a picture cannot be written.
    """
    with progress.task("stock the demo shop", total=settings.items) as task:
        stock = stock_up(settings.items, seed)
        ids = item_ids(seed, settings.items)
        truth = true_relations(stock)
        sessions = max(settings.items, round(settings.items * settings.sessions_per_item))
        viewed, bought = Shoppers(stock, truth, settings.noise, seed).visit(sessions)
        ties = numpy_generator(seed, "demo/ties")
        views = ranked_lists(viewed, settings.items, VIEWED, ties)
        purchases = ranked_lists(bought, settings.items, BOUGHT, ties)
        task.advance(settings.items)
    shown = has_image(settings.items, seed)
    if images is None or not settings.images:
        shown[:] = False
    else:
        images.mkdir(parents=True, exist_ok=True)
        draw_images(stock, ids, shown, images, seed, progress)
    paths = [f"images/{name}.png" if visible else None for name, visible in zip(ids, shown, strict=True)]
    counts = {
        "items": settings.items,
        "sessions": sessions,
        "view_edges": len(views.source),
        "purchase_edges": len(purchases.source),
        "images": int(shown.sum()),
    }
    return DemoCatalogue(_items(stock, ids, paths, seed), views, purchases, truth_table(truth), counts)


def _items(stock: Stock, ids: list[str], image_paths: list[str | None], seed: int) -> pa.Table:
    texts = write_texts(stock, seed)
    unpriced = numpy_generator(seed, "demo/no-price").random(len(stock)) < NO_PRICE
    return pa.table(
        {
            "item_id": ids,
            "title": texts.titles,
            "description": texts.descriptions,
            "brand": texts.brands,
            "category": texts.categories,
            "price": pa.array(np.where(unpriced, np.nan, stock.price), from_pandas=False),
            "image_url": pa.nulls(len(stock), pa.string()),
            "image_path": image_paths,
            "group": pa.nulls(len(stock), pa.string()),
        },
        schema=CATALOGUE_SCHEMA,
    )
