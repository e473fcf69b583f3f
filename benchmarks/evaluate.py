"""The cost of an evaluation: seconds and peak memory of `mmsc evaluate`, on trained workspaces or a made-up one.

python -m benchmarks.evaluate --workspace beauty        a trained workspace; repeatable
python -m benchmarks.evaluate --items 200000            indexes of random vectors, so that nothing has to be trained
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.measured import machine, markdown_table, run_mmsc
from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.index.index_file import write_index
from mmsc_cli.index.storage import Strings
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.tables.items import write_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.workspace.config import stage_config
from mmsc_cli.workspace.workspace import Workspace

DIM = 128
LINEAR_TOP = 50
PAIRS_PER_ITEM = 10
# Time follows the number of queries, memory does not: so few test pairs keep the large one short.
TEST_SHARE = 0.001


def main() -> None:
    """Measure, and write the table to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.evaluate"
    )
    parser.add_argument("--workspace", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--items", type=int, default=0, help="size of the made-up workspace, 0 for none")
    parser.add_argument("--baselines", help="else those of the recipe")
    given = parser.parse_args()
    logging.getLogger("mmsc_cli").setLevel(logging.WARNING)
    chosen = ["--baselines", given.baselines] if given.baselines else []
    rows = [_measure(str(path), path, chosen) for path in given.workspace]
    if given.items:
        with tempfile.TemporaryDirectory() as folder:
            make_workspace(Workspace(Path(folder)), given.items)
            rows.append(_measure(f"made up, {given.items:,} items", Path(folder), chosen))
    sys.stdout.write(machine() + "\n\n")
    sys.stdout.write(
        markdown_table(["workspace", "models", "queries", "seconds", "of which scoring mmsc", "peak GiB"], rows)
    )


def _measure(name: str, workspace: Path, chosen: list[str]) -> list[str]:
    ran = run_mmsc("evaluate", "--json", "-q", "-w", workspace, *chosen)
    models = json.loads(ran.output)["models"]
    queries = sum(models["mmsc"][relation][part]["queries"] for relation in RELATIONS for part in ("all", "cold"))
    scoring = models["mmsc"]["seconds"]["score"]
    return [name, ", ".join(models), f"{queries:,}", f"{ran.seconds:.1f}", f"{scoring:.1f}", f"{ran.peak_gib:.2f}"]


def make_workspace(workspace: Workspace, items: int) -> None:
    """Fill a workspace as if it had been prepared, encoded and trained: random pairs, vectors and linear rows."""
    recipe = load_recipe("demo", [f"source.items={max(items, 200)}"])
    generator = np.random.default_rng(1)
    with workspace.stage("prepare", {"recipe": recipe.as_config(), "inputs": []}) as stage:
        write_items(stage.path("items.parquet"), _items(items))
        pairs = _pairs(items, generator)
        pairs.write(stage.path("pairs.parquet"))
    with workspace.stage("encode", stage_config("encode", recipe)) as stage:
        folder = stage.directory("embeddings")
        np.save(folder / "text.npy", generator.standard_normal((items, DIM), np.float32).astype(np.float16))
        np.save(folder / "image.npy", np.zeros((items, 1), np.float16))
        np.save(folder / "mask.npy", np.tile([True, False], (items, 1)))
    with workspace.stage("train", stage_config("train", recipe) | {"without": []}) as stage:
        write_json(stage.directory("model") / "model.json", {})
        ids, titles = ([f"{kind} {item:07}" for item in range(items)] for kind in ("item", "title"))
        known = symmetric_matrix(pairs.a, pairs.b, None, items)
        tensors: dict[str, NDArray[Any]] = {
            "known.indptr": known.indptr.astype(np.int64),
            "known.indices": known.indices.astype(np.int32),
            **dict(zip(("ids.bytes", "ids.offsets"), Strings.pack(ids), strict=True)),
            **dict(zip(("titles.bytes", "titles.offsets"), Strings.pack(titles), strict=True)),
        }
        for relation in RELATIONS:
            tensors |= {f"{relation}.{side}": _vectors(items, generator) for side in ("query", "key")}
            tensors[f"{relation}.linear.indptr"] = np.arange(items + 1, dtype=np.int64) * LINEAR_TOP
            tensors[f"{relation}.linear.indices"] = generator.integers(0, items, items * LINEAR_TOP, np.int32)
            tensors[f"{relation}.linear.values"] = generator.random(items * LINEAR_TOP, np.float32)
        for name in ("judged", "index"):
            write_index(stage.directory(name), tensors, {"items": items, "dim": DIM})


def _items(items: int) -> pa.Table:
    split = np.full(items, "warm", dtype="<U10")
    split[::20], split[10::20] = "cold_valid", "cold_test"
    return pa.table(
        {
            "item_id": [f"item {item:07}" for item in range(items)],
            "title": [f"title {item:07}" for item in range(items)],
            "description": [""] * items,
            "brand": [""] * items,
            "category": [["all", f"branch {item % 50}", f"leaf {item % 2_000}"] for item in range(items)],
            "price": np.full(items, np.nan),
            "image_url": pa.nulls(items, pa.string()),
            "image_path": pa.nulls(items, pa.string()),
            "group": pa.nulls(items, pa.string()),
            "split": split.tolist(),
        }
    )


def _pairs(items: int, generator: np.random.Generator) -> Pairs:
    """Random pairs, held out as the protocol demands it."""
    ends = generator.integers(0, items, (2, items * PAIRS_PER_ITEM // 2))
    ends = ends[:, ends[0] != ends[1]]
    keys = np.unique(ends.min(axis=0) * items + ends.max(axis=0))
    a, b = (keys // items).astype(np.int32), (keys % items).astype(np.int32)
    drawn = generator.random(len(a))
    split = np.select([drawn < TEST_SHARE, drawn < 2 * TEST_SHARE], ["test", "valid"], "train")
    split[(a % 20 == 0) | (b % 20 == 0)] = "valid"
    cold_test = np.flatnonzero((a % 20 == 10) | (b % 20 == 10))
    split[cold_test] = "test"
    # Of the pairs of cold items as few again; the others are as if shoppers had never shown them.
    keep = np.ones(len(a), np.bool_)
    keep[cold_test[generator.random(len(cold_test)) >= 10 * TEST_SHARE]] = False
    view = generator.random(len(a), np.float32) * (generator.random(len(a)) < 0.6)
    buy = np.where(view > 0, generator.random(len(a), np.float32) - np.float32(0.5), 1).clip(0).astype(np.float32)
    return Pairs(a, b, view, view, buy, buy, split.astype(np.str_)).select(keep)


def _vectors(items: int, generator: np.random.Generator) -> NDArray[np.float32]:
    return generator.standard_normal((items, DIM), np.float32) / np.float32(DIM**0.5)


if __name__ == "__main__":
    main()
