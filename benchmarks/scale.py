"""How every stage grows with the catalogue: seconds and peak memory of generated shops with 20 pairs an item.

python -m benchmarks.scale --sizes 50000,200000
python -m benchmarks.scale --sizes 1000000 --stages prepare,encode

Files are written, prepared, encoded by the classic encoder, trained on (both indexes), and asked about as a whole.
Titles are drawn from the words of a cluster of 200 items, nine of ten pairs are within one, and popularity is uneven.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.growth import CLUSTER, PAIRS_PER_ITEM, WITHIN_CLUSTER
from benchmarks.measured import Measured, machine, markdown_table, run_mmsc, whole_numbers

STAGES = ("prepare", "encode", "train", "infer")
WORDS, OWN_WORDS, TITLE_WORDS = 20_000, 12, 8


def main() -> None:
    """Measure, and write the table to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.scale"
    )
    parser.add_argument("--sizes", type=whole_numbers, default=[50_000, 200_000], metavar="N,N")
    parser.add_argument("--stages", default=",".join(STAGES), help="the first ones of prepare,encode,train,infer")
    parser.add_argument("--folder", type=Path, help="where to work, and what stays there; else temporary")
    given = parser.parse_args()
    stages = given.stages.split(",")
    if stages != list(STAGES[: len(stages)]):
        parser.error("--stages: a stage needs those before it")
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for size in given.sizes:
            folder = (given.folder or Path(temporary)) / str(size)
            folder.mkdir(parents=True, exist_ok=True)
            write_shop(folder, size)
            for stage in stages:
                ran = _run(stage, folder)
                numbers = (f"{ran.seconds:.0f}", f"{ran.cpu_seconds:.0f}", f"{1e6 * ran.cpu_seconds / size:.0f}")
                memory = (f"{ran.peak_gib:.2f}", f"{ran.peak_gib * 2**20 / size:.1f}")
                rows.append([f"{size:,}", stage, *numbers, *memory])
                sys.stderr.write(" ".join(rows[-1]) + "\n")
    head = ["items", "stage", "seconds", "CPU seconds", "CPU µs an item", "peak GiB", "peak KiB an item"]
    sys.stdout.write(f"{machine()}\n\n{markdown_table(head, rows)}")


def _run(stage: str, folder: Path) -> Measured:
    where = ("-q", "-w", folder / "workspace")
    if stage == "prepare":
        inputs = ("--input", folder / "items.parquet", "--input", folder / "pairs.parquet")
        return run_mmsc("prepare", "my-shop", *inputs, *where)
    if stage == "encode":
        return run_mmsc("encode", "--encoder", "classic", *where)
    if stage == "train":
        return run_mmsc("train", "--device", "cpu", *where)
    return run_mmsc("infer", "--all", *where, "--to", folder / "answers.parquet")


def write_shop(folder: Path, items: int) -> None:
    """Write `items.parquet` and `pairs.parquet`, as a shop would hand them over."""
    generator = np.random.default_rng(1)
    clusters = max(1, items // CLUSTER)
    cluster = generator.integers(0, clusters, items)
    words = np.array([f"word{number}" for number in range(WORDS)])
    of_cluster = generator.integers(0, WORDS, (clusters, OWN_WORDS))
    drawn = of_cluster[cluster[:, None], generator.integers(0, OWN_WORDS, (items, TITLE_WORDS))]
    ids = np.array([f"I{row:08d}" for row in range(items)])
    table = {
        "item_id": ids,
        "title": [" ".join(title) for title in words[drawn]],
        "brand": [f"brand {number % 1_000}" for number in cluster.tolist()],
        "category": [f"aisle {number // 50} > shelf {number}" for number in cluster.tolist()],
        "price": generator.lognormal(3, 1, items).round(2),
    }
    pq.write_table(pa.table(table), folder / "items.parquet")
    members = np.argsort(cluster, kind="stable")
    first = np.searchsorted(cluster[members], np.arange(clusters + 1))
    wanted = items * PAIRS_PER_ITEM // 2
    # Popular items are in more pairs: the rank goes with a power of a uniform number.
    a = generator.permutation(items)[(items * generator.random(wanted) ** 1.5).astype(np.int64)]
    size = first[cluster[a] + 1] - first[cluster[a]]
    near = members[first[cluster[a]] + (size * generator.random(wanted) ** 1.5).astype(np.int64)]
    b = np.where(generator.random(wanted) < WITHIN_CLUSTER, near, generator.integers(0, items, wanted))
    a, b = a[a != b], b[a != b]
    kind, strength = generator.integers(0, 3, len(a)), generator.integers(1, 9, len(a))
    pairs = {"a": ids[a], "b": ids[b], "co_view": strength * (kind != 1), "co_purchase": strength * (kind != 0)}
    pq.write_table(pa.table(pairs), folder / "pairs.parquet")


if __name__ == "__main__":
    main()
