"""What every night after the first costs, and how far answers move: a generated shop that grows night by night.

    python -m benchmarks.nights --nights 3 --products 300
    python -m benchmarks.nights --nights 10 --products 2400

The shop has 60 days of behaviour, a CSV file a day, when the first night comes. Each later night brings one more day
(1/60 more events) and 1 % new products, and `since = "60d"` forgets the oldest day. Every night runs `prepare`,
`encode`, `train` and `evaluate`, then `mmsc run` once more on the unchanged files. At the end the whole log is prepared
anew in another workspace, whose tables must be the same bytes. Seconds are of the processor, children included.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.export_shop import Product, Shoppers, make_products, write_products
from benchmarks.measured import machine, markdown_table, run_mmsc
from mmsc_cli.tables.relations import RELATIONS

DAYS = 60
NEW_PRODUCTS = 0.01
EVENTS_A_DAY = 1.7  # per product
START = datetime(2026, 8, 1, tzinfo=UTC)
STAGES = ("prepare", "encode", "train", "evaluate")
TABLES = ("items.parquet", "pairs.parquet", "outside.parquet")
RECIPE = """name = "nights"
[source]
kind = "events"
events = "log/*.csv"
items = "products_export.csv"
since = "60d"
[encode]
encoder = "classic"
"""


@dataclass
class Night:
    """What a night cost and what came of it; `churn` and `figures` by relation."""

    items: int
    events: int
    seconds: dict[str, float]
    again: float
    churn: dict[str, dict[str, float]]
    figures: dict[str, float]

    @property
    def all(self) -> float:
        """The processor seconds of all stages."""
        return sum(self.seconds.values())


class Shop:
    """The files of a shop, which grow."""

    def __init__(self, folder: Path, products: int, nights: int, seed: int) -> None:
        """Make all products there will ever be, and write the files of the first night."""
        self.folder = folder
        self._seed = seed
        self._first = products
        last = round(products * (1 + NEW_PRODUCTS * nights)) + 1
        self._products = make_products(last, np.random.default_rng(seed))
        (folder / "log").mkdir(parents=True)
        (folder / "nights.toml").write_text(RECIPE)
        self._stock(products)
        for day in range(DAYS):
            self._write_day(day, self._products[:products])

    def next_night(self, night: int) -> None:
        """Add a day of behaviour and the products that are new."""
        products = round(self._first * (1 + NEW_PRODUCTS * night))
        self._stock(products)
        self._write_day(DAYS + night - 1, self._products[:products])

    def _stock(self, products: int) -> None:
        # A seed of its own, so that a product is described alike every night.
        write_products(
            self.folder / "products_export.csv", self._products[:products], np.random.default_rng(self._seed)
        )

    def _write_day(self, day: int, products: list[Product]) -> None:
        rng = np.random.default_rng([self._seed, day])
        # Popularity is drawn product by product: those that were there keep theirs.
        shoppers = Shoppers.of(products, np.random.default_rng(self._seed))
        moment = START + timedelta(days=day)
        with (self.folder / "log" / f"{moment:%Y-%m-%d}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["session", "item", "type", "time"])
            written = session = 0
            while written < EVENTS_A_DAY * len(products):
                session += 1
                # One in ten comes back the next day.
                name = f"{day - (rng.random() < 0.1)}-{session}"
                for event, row in shoppers.visit(rng):
                    kind = {"view_item": "view", "purchase": "purchase"}.get(event)
                    if kind:
                        skus = products[row].skus
                        moment += timedelta(seconds=int(rng.integers(1, 9)))
                        rows.writerow([name, skus[int(rng.integers(len(skus)))], kind, f"{moment:%Y-%m-%dT%H:%M:%SZ}"])
                        written += 1


def main() -> None:
    """Measure, and write the tables to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.nights"
    )
    parser.add_argument("--nights", type=int, default=3, help="after the first")
    parser.add_argument("--products", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        shop = Shop(root / "shop", given.products, given.nights, given.seed)
        nights: list[Night] = []
        for number in range(given.nights + 1):
            if number:
                shop.next_night(number)
            nights.append(_run(shop, root, number))
            sys.stderr.write(f"night {number}: {nights[-1]}\n")
        whole = run_mmsc("prepare", shop.folder / "nights.toml", "-w", root / "fresh", "-q")
        same = all((root / "space" / name).read_bytes() == (root / "fresh" / name).read_bytes() for name in TABLES)
    sys.stdout.write(f"{machine()}; processor seconds\n\n{_costs(nights)}\n{_answers(nights)}\n")
    sys.stdout.write(
        f"All days read anew: {whole.cpu_seconds:.1f} s; its tables are {'' if same else 'NOT '}the same.\n"
    )


def _run(shop: Shop, root: Path, number: int) -> Night:
    recipe, space = shop.folder / "nights.toml", root / "space"
    common = ["-w", space, "-q", "--json"]
    options: dict[str, list[object]] = {"prepare": [recipe], "evaluate": []}
    measured = {stage: run_mmsc(stage, *options.get(stage, []), *common) for stage in STAGES}
    counts: dict[str, Any] = json.loads(measured["prepare"].output)["counts"]
    models: dict[str, Any] = json.loads(measured["evaluate"].output)["models"]
    again = run_mmsc("run", recipe, "-w", space, "-q")
    answers = root / f"night-{number}.parquet"
    run_mmsc("infer", "--all", "--relation", "both", "--format", "parquet", "-w", space, into=str(answers))
    churn = {}
    if number:
        before = root / f"night-{number - 1}.parquet"
        churn = json.loads(run_mmsc("diff", before, answers, "--json").output)["churn"]
    return Night(
        items=counts["items"],
        events=counts["events"] - counts.get("events_outside_period", 0),
        seconds={stage: one.cpu_seconds for stage, one in measured.items()},
        again=again.cpu_seconds,
        churn={relation: {name: churn[relation][name] for name in ("top1", "top5")} for relation in churn},
        figures={relation: models["mmsc"][relation]["all"]["ndcg@10"] for relation in RELATIONS},
    )


def _costs(nights: list[Night]) -> str:
    head = ["night", "items", "events", *STAGES, "all", "of the first", "`run`, nothing changed"]
    return markdown_table(
        head,
        [
            [
                str(number),
                f"{night.items:,}",
                f"{night.events:,}",
                *(f"{night.seconds[stage]:.1f}" for stage in STAGES),
                f"{night.all:.1f}",
                f"{night.all / nights[0].all:.0%}",
                f"{night.again:.2f}",
            ]
            for number, night in enumerate(nights)
        ],
    )


def _answers(nights: list[Night]) -> str:
    churn = [f"{relation} {name}" for relation in RELATIONS for name in ("top1", "top5")]
    return markdown_table(
        ["night", *(f"churn of {name}" for name in churn), *(f"NDCG@10 of {relation}s" for relation in RELATIONS)],
        [
            [
                str(number),
                *(
                    f"{night.churn[relation][name]:.3f}" if relation in night.churn else ""
                    for relation in RELATIONS
                    for name in ("top1", "top5")
                ),
                *(f"{night.figures[relation]:.3f}" for relation in RELATIONS),
            ]
            for number, night in enumerate(nights)
        ],
    )


if __name__ == "__main__":
    main()
