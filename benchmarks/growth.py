"""How `mmsc train` grows with the catalogue: processor seconds by part and peak memory of generated catalogues.

python -m benchmarks.growth --sizes 10000,50000,200000

Items lie in clusters: their vectors are near a cluster's, pairs are mostly within one, and popularity is uneven. Each
has 20 pairs. Both indexes are made, as `mmsc train` does.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.measured import machine, markdown_table, run_mmsc, whole_numbers
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.tables.items import write_items
from mmsc_cli.tables.pairs import Pairs
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
    parser.add_argument("--sizes", type=whole_numbers, default=[10_000, 50_000, 200_000], metavar="N,N")
    parser.add_argument("--text-dim", type=int, default=64)
    parser.add_argument("--workspaces", type=Path, help="where to make them, or to find them again; else temporary")
    given = parser.parse_args()
    head: list[str] = []
    rows: list[list[str]] = []
    per_item: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        for size in given.sizes:
            folder = (given.workspaces or Path(temporary)) / f"{size}-{given.text_dim}"
            if not (folder / "manifest.json").exists():
                folder.mkdir(parents=True)
                make_workspace(Workspace(folder), size, given.text_dim)
            measured = run_mmsc("train", "-q", "--json", "--device", "cpu", "-w", folder)
            by_part: dict[str, float] = json.loads(measured.output)["counts"]["cpu_seconds"]
            per_item.append(sum(by_part.values()) / size)
            head = ["items", *by_part, "all", "an item, times linear", "peak GiB"]
            seconds = [f"{value:.0f}" for value in (*by_part.values(), sum(by_part.values()))]
            rows.append([f"{size:,}", *seconds, f"{per_item[-1] / per_item[0]:.2f}", f"{measured.peak_gib:.1f}"])
            sys.stderr.write(" ".join(rows[-1]) + "\n")
    sys.stdout.write(f"{machine()}; processor seconds\n\n{markdown_table(head, rows)}")


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
