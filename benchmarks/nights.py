"""What every night after the first costs, and how far answers move: a generated shop that grows night by night.

    python -m benchmarks.nights --nights 3 --products 300
    python -m benchmarks.nights --nights 10 --products 300 --events 12 --fresh 5,10
    python -m benchmarks.nights --nights 10 --products 300 --kill

The shop has 60 days of behaviour, a CSV file a day, when the first night comes. Each later night brings one more day
(1/60 more events) and 1 % new products, and `since = "60d"` forgets the oldest day. A night is one `mmsc run`; then
`mmsc run` is tried once more on the unchanged files. `--fresh` names nights whose data are also trained anew, to
compare figures. At the end the whole log is prepared anew in another workspace, whose tables must be the same bytes.
Seconds are of the processor, those of parts by the process's own account.

With `--kill` the nights are also run in a second workspace, in which every `mmsc run` is killed by SIGKILL at a random
moment, `--kills` times in a row, and then left to finish. Every artefact must be that of the undisturbed workspace, but
for seconds that are written into it.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.export_shop import Product, Shoppers, make_products, write_products
from benchmarks.faults.kill import contents, end, spread_moments, start, wait_for_processor
from benchmarks.measured import machine, markdown_table, run_mmsc, whole_numbers
from mmsc_cli.tables.relations import RELATIONS

DAYS = 60
NEW_PRODUCTS = 0.01
START = datetime(2026, 8, 1, tzinfo=UTC)
STAGES = ("prepare", "encode", "train", "evaluate")
SLICES = ("all", "cold")
TABLES = ("items.parquet", "pairs.parquet", "outside.parquet")
# Without `min_support`, a pair may count on one night and not on the next, where two choices are equally good.
RECIPE = """name = "nights"
[source]
kind = "events"
events = "log/*.csv"
items = "products_export.csv"
since = "60d"
min_support = 2
[encode]
encoder = "classic"
"""


@dataclass
class Night:
    """What a night cost and what came of it; `churn` and `figures` by relation, the latter by slice too.

    `training`: where it started. `fresh`: the figures of a training that took nothing over, if there was one.
    """

    items: int
    events: int
    cost: float
    seconds: dict[str, float]
    again: float
    training: str
    churn: dict[str, dict[str, float]]
    figures: dict[tuple[str, str], float]
    fresh: dict[tuple[str, str], float] | None = None


class Shop:
    """The files of a shop, which grow."""

    def __init__(self, folder: Path, products: int, nights: int, seed: int, events: float = 1.7) -> None:
        """Make all products there will ever be, and write the files of the first night.

        `events`: of a product and a day, on average.
        """
        self.folder = folder
        self._events = events
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
            while written < self._events * len(products):
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
    parser.add_argument("--events", type=float, default=1.7, help="of a product and a day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fresh", type=whole_numbers, default=[], metavar="NIGHTS", help="1,2: also train these anew")
    parser.add_argument("--kill", action="store_true", help="kill each night in a second workspace")
    parser.add_argument("--kills", type=int, default=2, help="of a night")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        shop = Shop(root / "shop", given.products, given.nights, given.seed, given.events)
        moments = spread_moments(given.kills * (given.nights + 1), f"nights/{given.seed}") if given.kill else None
        nights: list[Night] = []
        told: list[str] = []
        for number in range(given.nights + 1):
            if number:
                shop.next_night(number)
            nights.append(_run(shop, root, number, anew=number in given.fresh))
            sys.stderr.write(f"night {number}: {nights[-1]}\n")
            if moments is not None:
                told.append(_run_killed(shop, root, nights[-1].cost, moments, given.kills))
                sys.stderr.write(f"night {number}: {told[-1]}\n")
        whole = run_mmsc("prepare", shop.folder / "nights.toml", "-w", root / "fresh", "-q")
        same = all((root / "space" / name).read_bytes() == (root / "fresh" / name).read_bytes() for name in TABLES)
    sys.stdout.write(f"{machine()}; processor seconds\n\n{_costs(nights)}\n{_answers(nights)}\n{_quality(nights)}")
    sys.stdout.write(
        f"All days read anew: {whole.cpu_seconds:.1f} s; its tables are {'' if same else 'NOT '}the same.\n"
    )
    if told:
        rows = ([str(number), line] for number, line in enumerate(told))
        sys.stdout.write("\n" + markdown_table(["night", "killed, and finished by the next run"], rows))


def _run(shop: Shop, root: Path, number: int, *, anew: bool) -> Night:
    recipe, space, log = shop.folder / "nights.toml", root / "space", root / "run.log"
    cost = run_mmsc("run", recipe, "-w", space, "--log-format", "json", log=log).cpu_seconds
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    seconds = {line["stage"]: line["cpu_seconds"] for line in lines if "cpu_seconds" in line}
    counts: dict[str, Any] = json.loads((space / "manifest.json").read_bytes())["stages"]["prepare"]["counts"]
    again = run_mmsc("run", recipe, "-w", space, "-q")
    answers = root / f"night-{number}.parquet"
    run_mmsc("infer", "--all", "--relation", "both", "--format", "parquet", "-w", space, "-q", into=str(answers))
    churn = {}
    if number:
        before = root / f"night-{number - 1}.parquet"
        churn = json.loads(run_mmsc("diff", before, answers, "--json", "-q").output)["churn"]
    return Night(
        items=counts["items"],
        events=counts["events"] - counts.get("events_outside_period", 0),
        cost=cost,
        seconds=seconds,
        again=again.cpu_seconds,
        training=lines[-1]["training"],
        churn={relation: {name: churn[relation][name] for name in ("top1", "top5")} for relation in churn},
        figures=_figures(space),
        fresh=_train_anew(space, root / "anew") if anew else None,
    )


def _train_anew(space: Path, copy: Path) -> dict[tuple[str, str], float]:
    """The figures of the same data where nothing is taken over."""
    shutil.copytree(space, copy)
    run_mmsc("train", "--fresh", "-w", copy, "-q")
    run_mmsc("evaluate", "-w", copy, "-q")
    figures = _figures(copy)
    shutil.rmtree(copy)
    return figures


def _figures(space: Path) -> dict[tuple[str, str], float]:
    """NDCG@10 by relation and slice."""
    models = json.loads((space / "metrics.json").read_bytes())["models"]
    return {(relation, name): models["mmsc"][relation][name]["ndcg@10"] for relation in RELATIONS for name in SLICES}


def _run_killed(shop: Shop, root: Path, cost: float, moments: Iterator[float], kills: int) -> str:
    """Kill a night several times, let it finish, and compare it with the undisturbed one; returns what came of it."""
    words, space = ["run", str(shop.folder / "nights.toml")], root / "killed"
    killed = []
    for _ in range(kills):
        moment = cost * next(moments)
        process = start(words, space)
        wait_for_processor(process, moment)
        if process.poll() is None:
            process.kill()
            killed.append(f"{moment:.1f} s")
        end(process)
    code, said = end(start(words, space))
    if code:
        return f"the last run ended with {code}: {said}"
    found, wanted = contents(space), contents(root / "space")
    different = [name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)]
    return f"at {', '.join(killed)}: {'NOT the same: ' + ', '.join(sorted(different)) if different else 'the same'}"


def _costs(nights: list[Night]) -> str:
    head = ["night", "items", "events", *STAGES, "all", "of the first", "training starts", "`run`, nothing changed"]
    return markdown_table(
        head,
        [
            [
                str(number),
                f"{night.items:,}",
                f"{night.events:,}",
                *(f"{night.seconds[stage]:.1f}" for stage in STAGES),
                f"{night.cost:.1f}",
                f"{night.cost / nights[0].cost:.0%}",
                night.training,
                f"{night.again:.2f}",
            ]
            for number, night in enumerate(nights)
        ],
    )


def _answers(nights: list[Night]) -> str:
    names = [(relation, name) for relation in RELATIONS for name in ("top1", "top5")]
    return markdown_table(
        ["night", *(f"churn of {relation}s, {name}" for relation, name in names)],
        [
            [str(number), *(f"{night.churn[relation][name]:.3f}" for relation, name in names)]
            for number, night in enumerate(nights)
            if night.churn
        ],
    )


def _quality(nights: list[Night]) -> str:
    names = [(relation, name) for relation in RELATIONS for name in SLICES]
    rows = []
    for number, night in enumerate(nights):
        figures = [f"{night.figures[name]:.3f}" for name in names]
        if night.fresh is not None:
            differences = [night.figures[name] - night.fresh[name] for name in names]
            figures = [f"{figure} ({change:+.3f})" for figure, change in zip(figures, differences, strict=True)]
            figures.append(f"{np.mean(differences):+.4f}")
        rows.append([str(number), *figures, *[""] * (len(names) + 1 - len(figures))])
    head = [f"NDCG@10 of {relation}s, {name}" for relation, name in names]
    return markdown_table(["night", *head, "mean difference to a fresh training"], rows) + "\n"


if __name__ == "__main__":
    main()
