"""How `mmsc train` grows with the catalogue: seconds an epoch and peak memory of made-up catalogues, 20 pairs an item.

python -m benchmarks.growth --sizes 10000,100000,1000000
python -m benchmarks.growth --sizes 1000000 --steps 4     the first steps of an epoch, the rest in proportion

Items lie in clusters: their vectors are near a cluster's, pairs are mostly within one, and popularity is uneven. Every
epoch asks for every item with pairs, in the same number of steps, whatever the size. An epoch's seconds hold its
views, steps and validation; with --steps, views and validation are left out, and training ends before its other parts.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch

from benchmarks.measured import machine, markdown_table, run_mmsc, whole_numbers
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.runtime.progress import Task
from mmsc_cli.tables.items import write_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.train.stage import run_train
from mmsc_cli.workspace.config import stage_config
from mmsc_cli.workspace.workspace import Workspace

PAIRS_PER_ITEM = 20
CLUSTER = 200
WITHIN_CLUSTER = 0.9


def main() -> None:
    """Measure, and write the table to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.growth"
    )
    parser.add_argument("--sizes", type=whole_numbers, default=[10_000, 100_000, 1_000_000], metavar="N,N")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--text-dim", type=int, default=64)
    parser.add_argument("--steps", type=int, help="take so many steps of each size instead of whole trainings")
    parser.add_argument("--workspaces", type=Path, help="where to make them, or to find them again; else temporary")
    parser.add_argument("--timed", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.timed:
        _time_steps(given.timed, given.steps)
        return
    logging.getLogger("mmsc_cli").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        rows: list[list[str]] = []
        first: _Growth | None = None
        for size in given.sizes:
            folder = (given.workspaces or Path(temporary)) / f"{size}-{given.text_dim}"
            if not (folder / "manifest.json").exists():
                folder.mkdir(parents=True)
                make_workspace(Workspace(folder), size, given.text_dim)
            found = _measure_steps(folder, size, given.steps) if given.steps else _measure(folder, size, given.epochs)
            first = first or found
            rows.append(found.row(first))
            sys.stderr.write(" ".join(rows[-1]) + "\n")
    sys.stdout.write(machine() + "\n\n")
    head = [
        "items",
        "seconds an epoch",
        "times linear",
        "CPU seconds",
        "times linear",
        "all of `train`, seconds",
        "peak GiB",
    ]
    sys.stdout.write(markdown_table(head, rows))


@dataclass(frozen=True)
class _Growth:
    """Wall and CPU seconds of an epoch, wall seconds of the whole stage, and its peak memory."""

    items: int
    seconds: float
    processor: float | None
    whole: float | None
    peak_gib: float

    def row(self, first: _Growth) -> list[str]:
        """The table's row; growth is against the first size."""
        linear = self.items / first.items
        of_processor = self.processor and first.processor and self.processor / first.processor / linear
        return [
            f"{self.items:,}",
            f"{self.seconds:.1f}",
            f"{self.seconds / first.seconds / linear:.2f}",
            f"{self.processor:.1f}" if self.processor else "–",
            f"{of_processor:.2f}" if of_processor else "–",
            f"{self.whole:.0f}" if self.whole else "–",
            f"{self.peak_gib:.1f}",
        ]


def _measure(folder: Path, items: int, epochs: int) -> _Growth:
    """Of a whole training; an epoch's seconds are the median."""
    ran = run_mmsc("train", "-q", "--device", "cpu", "--epochs", epochs, "-w", folder)
    lines = (folder / "model" / "metrics.jsonl").read_text().splitlines()
    seconds = statistics.median(json.loads(line)["seconds"] for line in lines)
    return _Growth(items, seconds, None, ran.seconds, ran.peak_gib)


def _measure_steps(folder: Path, items: int, steps: int) -> _Growth:
    """In proportion to an epoch's first steps; the peak memory is that up to there."""
    command = [sys.executable, "-m", "benchmarks.growth", "--timed", str(folder), "--steps", str(steps)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the training of {folder} failed with exit code {process.returncode}")
    seconds, processor = (float(line) for line in output.split())
    return _Growth(items, seconds, processor, None, usage.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20))


class _EnoughError(Exception):
    """So many steps are enough."""


class _Stopwatch:
    """Progress that takes the time of the training's steps and ends it after some."""

    def __init__(self, steps: int) -> None:
        self.seconds: list[float] = []
        self.processor: list[float] = []
        self.total = 0
        self._steps = steps
        self._last: tuple[float, float] | None = None
        self._timing = False

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: Literal["", "bytes"] = "") -> Iterator[Task]:
        self._last = None
        self._timing = label == "Training"
        self.total = total or 0
        started = time.monotonic()
        yield self
        sys.stderr.write(f"{label}: {time.monotonic() - started:.1f} s\n")

    def advance(self, steps: int = 1) -> None:
        now = time.monotonic(), time.process_time()
        if self._timing and steps and self._last is not None:
            self.seconds.append(now[0] - self._last[0])
            self.processor.append(now[1] - self._last[1])
            if len(self.seconds) == self._steps:
                raise _EnoughError
        self._last = now

    def show(self, **figures: float) -> None:
        """Nobody watches."""


def _time_steps(folder: Path, steps: int) -> None:
    """In a process of its own: write the seconds of an epoch to stdout."""
    workspace = Workspace(folder)
    recipe = load_recipe("demo", ["train.epochs=1"])
    watch = _Stopwatch(steps)
    try:
        run_train(workspace, recipe, [], lambda: torch.device("cpu"), watch, "never")
    except _EnoughError:
        for each in (watch.seconds, watch.processor):
            sys.stdout.write(f"{statistics.median(each) * watch.total}\n")


def make_workspace(workspace: Workspace, items: int, text_dim: int) -> None:
    """Fill a workspace as if it had been prepared and encoded."""
    recipe = load_recipe("demo", [f"source.items={items}"])
    generator = np.random.default_rng(1)
    cluster = np.sort(generator.integers(0, max(1, items // CLUSTER), items))
    # Where an item stands in the catalogue says nothing of its cluster.
    generator.shuffle(cluster)
    with workspace.stage("prepare", {"recipe": recipe.as_config(), "inputs": []}) as stage:
        splits = generator.choice(["warm", "cold_valid", "cold_test"], items, p=[0.9, 0.05, 0.05])
        write_items(stage.path("items.parquet"), _items(cluster, splits))
        _pairs(cluster, splits, generator).write(stage.path("pairs.parquet"))
    with workspace.stage("encode", stage_config("encode", recipe)) as stage:
        folder = stage.directory("embeddings")
        centres = generator.standard_normal((int(cluster.max()) + 1, text_dim), np.float32)
        text = np.lib.format.open_memmap(folder / "text.npy", mode="w+", dtype=np.float16, shape=(items, text_dim))
        for start in range(0, items, 100_000):
            own = centres[cluster[start : start + 100_000]]
            vectors = own + generator.standard_normal(own.shape, np.float32) / 2
            text[start : start + 100_000] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        text.flush()
        np.save(folder / "image.npy", np.zeros((items, 1), np.float16))
        np.save(folder / "mask.npy", np.tile([True, False], (items, 1)))


def _items(cluster: np.ndarray, splits: np.ndarray) -> pa.Table:
    items = len(cluster)
    return pa.table(
        {
            "item_id": [f"I{row:08d}" for row in range(items)],
            "title": [f"item {row}" for row in range(items)],
            "description": [""] * items,
            "brand": [f"brand {number % 1_000}" for number in range(items)],
            "category": [["shop", f"aisle {number // 50}", f"shelf {number}"] for number in cluster.tolist()],
            "price": np.full(items, np.nan),
            "image_url": pa.nulls(items, pa.string()),
            "image_path": pa.nulls(items, pa.string()),
            "split": splits,
        }
    )


def _pairs(cluster: np.ndarray, splits: np.ndarray, generator: np.random.Generator) -> Pairs:
    """About PAIRS_PER_ITEM pairs an item, each end counted: popular items have more, and most are within a cluster."""
    items = len(cluster)
    wanted = items * PAIRS_PER_ITEM // 2
    members = np.argsort(cluster, kind="stable")
    first = np.searchsorted(cluster[members], np.arange(int(cluster.max()) + 2))
    a = (items * generator.random(wanted) ** 1.5).astype(np.int64)
    a = generator.permutation(items)[a]
    size = first[cluster[a] + 1] - first[cluster[a]]
    within = members[first[cluster[a]] + (size * generator.random(wanted) ** 1.5).astype(np.int64)]
    b = np.where(generator.random(wanted) < WITHIN_CLUSTER, within, generator.integers(0, items, wanted))
    keys = np.unique(np.minimum(a, b)[a != b] * items + np.maximum(a, b)[a != b])
    low, high = keys // items, keys % items
    drawn = generator.random(len(keys))
    split = np.where(drawn < 0.8, "train", np.where(drawn < 0.9, "valid", "test"))
    ends = splits[low], splits[high]
    split = np.where((ends[0] == "cold_valid") | (ends[1] == "cold_valid"), "valid", split)
    split = np.where((ends[0] == "cold_test") | (ends[1] == "cold_test"), "test", split)
    kind = generator.integers(0, 3, len(keys))
    strength = generator.uniform(0.5, 1.5, len(keys)).astype(np.float32)
    view, buy = strength * (kind != 1), strength * (kind != 0)
    return Pairs(low.astype(np.int32), high.astype(np.int32), view, view, buy, buy, split.astype(np.str_))


if __name__ == "__main__":
    main()
