"""How soon `train` is as good as EASE, beside how long EASE takes to fit: in turns, on one workspace.

python -m benchmarks.head_start amazon-beauty --input meta_Beauty_5core.json.gz --rounds 3

EASE is fitted on the strengths of each relation (regularisation 30, the best of its grid on Beauty), with nothing read,
written or encoded within its time; `train` is counted from its start, reading and semantic neighbours included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measured import machine, markdown_table, run_mmsc
from mmsc_cli.linear.ease import Ease, with_self
from mmsc_cli.tables.items import item_splits, read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.validation import validations_of

REGULARISATION = 30.0


def main() -> None:
    """Prepare once, then measure both in turns; a table to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="python -m benchmarks.head_start",
    )
    parser.add_argument("recipe")
    parser.add_argument("--input", action="append", default=[], metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        common = ["-w", folder, "--seed", given.seed, "-q"]
        files = [part for path in given.input for part in ("--input", path)]
        run_mmsc("prepare", given.recipe, *files, *common)
        run_mmsc("encode", "--encoder", "classic", *common)
        rows = [_round(Path(folder), given.seed, common) for _ in range(given.rounds)]
    head = [
        "round",
        "EASE, seconds",
        "validation NDCG@10",
        "train's linear branch, seconds",
        "validation NDCG@10",
        "ratio",
    ]
    cells = [
        [str(number), f"{fit:.1f}", f"{its:.4f}", f"{branch:.1f}", f"{ours:.4f}", f"{branch / fit:.2f}"]
        for number, (fit, its, branch, ours) in enumerate(rows, start=1)
    ]
    ratio = statistics.median(branch / fit for fit, _, branch, _ in rows)
    sys.stdout.write(f"{machine()}\n\n{markdown_table(head, cells)}\nmedian ratio {ratio:.2f}\n")


def _round(folder: Path, seed: int, common: list[Any]) -> tuple[float, float, float, float]:
    """Seconds and validation NDCG@10 (mean over the relations' warm queries) of EASE and of the linear branch."""
    pairs, splits = Pairs.read(folder / "pairs.parquet"), item_splits(read_items(folder / "items.parquet"))
    validations = validations_of(pairs, splits, seed)
    seconds, figures = 0.0, []
    for relation in RELATIONS:
        adjacency = pairs.of("train").adjacency(relation, len(splits))
        started = time.monotonic()
        ease = Ease(with_self(adjacency), REGULARISATION)
        seconds += time.monotonic() - started
        validation = validations[relation, "warm"]
        scored = [validation.figures(queries, ease.rows(queries)) for queries in validation.chunks()]
        figures.append(float(sum(part.sum() for part in scored)) / len(validation.queries))
    # What comes after the linear branch does not matter here, so there is little of it.
    rest = ["--set", "train.epochs=1", "--set", "train.rerank_items=1"]
    result = json.loads(run_mmsc("train", *rest, "--no-resume", "--json", *common).output)
    branch = result["counts"]["linear_branch"]
    ours = statistics.mean(branch[f"{relation}_warm"] for relation in RELATIONS)
    return seconds, statistics.mean(figures), branch["seconds"], ours


if __name__ == "__main__":
    main()
