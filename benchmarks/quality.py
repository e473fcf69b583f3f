"""Every quality number of the README and of docs/benchmarks.md: the whole path from several seeds, as a user runs it.

python -m benchmarks.quality amazon-beauty --input meta_Beauty_5core.json.gz --seeds 1,2,3 --write
python -m benchmarks.quality demo

A seed decides the hold-out, the training and every draw, so each is a measurement of its own. Cells are means over the
seeds, intervals those of `pooled`. With --write the tables replace what stands between the markers of the recipe in the
two documents; otherwise they go to stdout.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured import Measured, machine, markdown_table, run_mmsc, whole_numbers
from mmsc_cli.evaluate.protocol import SLICES
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.version import __version__

ROOT = Path(__file__).parents[1]
BASELINES = "popularity,resource-allocation,ease,text-knn,knn-transfer"
STAGES = ("prepare", "encode", "train", "evaluate")
# The README shows these slices, and of the baselines whatever is best in each.
README_SLICES = ("all", "clean", "tail", "cold")


def main() -> None:
    """Run the stages from every seed; write the tables into the documents or to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.quality"
    )
    parser.add_argument("recipe")
    parser.add_argument("--input", action="append", default=[], metavar="FILE")
    parser.add_argument("--seeds", type=whole_numbers, default=[1, 2, 3], metavar="1,2,3")
    parser.add_argument("--baselines", default=BASELINES)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--write", action="store_true", help="replace the tables in README.md and docs/benchmarks.md")
    given = parser.parse_args()
    runs = [_run(given, seed) for seed in given.seeds]
    results = [json.loads(run["evaluate"].output) for run in runs]
    blocks = {"docs/benchmarks.md": _details(given, runs, results), "README.md": _overview(given, results)}
    if not given.write:
        sys.stdout.write("\n".join(blocks.values()))
    elif not sum(replace_block(ROOT / name, given.recipe, block) for name, block in blocks.items()):
        sys.exit(f"neither of {', '.join(blocks)} has a place for {given.recipe}: {_marker(given.recipe, 'start')}")


def _run(given: argparse.Namespace, seed: int) -> dict[str, Measured]:
    """Each stage's measurement."""
    with tempfile.TemporaryDirectory() as folder:
        common = ["-w", folder, "--seed", seed, "-q"]
        settings = [part for setting in given.settings for part in ("--set", setting)]
        files = [part for path in given.input for part in ("--input", path)]
        options = {
            "prepare": [given.recipe, *files, *settings],
            "encode": ["--encoder", "classic"],
            "train": [],
            "evaluate": ["--json", "--baselines", given.baselines],
        }
        return {stage: run_mmsc(stage, *options[stage], *common) for stage in STAGES}


def pooled(cells: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Figures over seeds: means, and an interval of NDCG@10; None for an empty slice.

    Half the interval is the larger of what the queries say (the mean of the seeds' bootstrap intervals; not less with
    more seeds, as they share one catalogue) and what the seeds say (1.96 standard errors of their mean; rough with
    three of them, and by luck far too small).
    """
    filled = [cell for cell in cells if cell["queries"]]
    if not filled:
        return None
    count = len(filled)
    mean = {name: sum(cell[name] for cell in filled) / count for name in ("hit@10", "ndcg@10", "queries")}
    by_queries = sum(cell["ndcg@10_ci"][1] - cell["ndcg@10_ci"][0] for cell in filled) / 2 / count
    spread = sum((cell["ndcg@10"] - mean["ndcg@10"]) ** 2 for cell in filled) / max(1, count - 1)
    half = max(by_queries, 1.96 * math.sqrt(spread / count))
    return {**mean, "low": max(0.0, mean["ndcg@10"] - half), "high": min(1.0, mean["ndcg@10"] + half)}


def replace_block(path: Path, recipe: str, block: str) -> bool:
    """Put a block between the markers of a recipe in a document; return whether it has them."""
    start, end = _marker(recipe, "start"), _marker(recipe, "end")
    head, found, rest = path.read_text(encoding="utf-8").partition(start)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        return False
    path.write_text(f"{head}{start}\n{block}{end}{tail}", encoding="utf-8")
    return True


def _marker(recipe: str, edge: str) -> str:
    return f"<!-- quality:{recipe}:{edge} -->"


def _pooled_cells(results: Sequence[dict[str, Any]], relation: str, part: str) -> dict[str, dict[str, Any]]:
    """Pooled figures of every system that has queries there."""
    found = {
        name: pooled([result["models"][name][relation][part] for result in results]) for name in results[0]["models"]
    }
    return {name: cell for name, cell in found.items() if cell is not None}


def _about(given: argparse.Namespace) -> str:
    files = "".join(f" --input {shlex.quote(Path(path).name)}" for path in given.input)
    settings = "".join(f" --set {shlex.quote(setting)}" for setting in given.settings)
    seeds = ",".join(map(str, given.seeds))
    baselines = "" if given.baselines == BASELINES else f" --baselines {given.baselines}"
    command = f"python -m benchmarks.quality {given.recipe}{files}{settings}{baselines} --seeds {seeds} --write"
    return f"    {command}\n\n{datetime.datetime.now(datetime.UTC).date()}, version {__version__}, seeds {seeds}"


def _details(given: argparse.Namespace, runs: Sequence[dict[str, Measured]], results: Sequence[dict[str, Any]]) -> str:
    costs = [
        [
            stage,
            f"{sum(run[stage].cpu_seconds for run in runs) / len(runs):.1f}",
            f"{max(run[stage].peak_gib for run in runs):.2f}",
        ]
        for stage in STAGES
    ]
    rows = [
        [
            name,
            relation,
            part,
            f"{cell['queries']:.0f}",
            f"{cell['hit@10']:.3f}",
            f"{cell['ndcg@10']:.3f}",
            f"{cell['low']:.3f}–{cell['high']:.3f}",
        ]
        for relation in RELATIONS
        for part in SLICES
        for name, cell in _pooled_cells(results, relation, part).items()
    ]
    head = ["system", "relation", "slice", "queries", "Hit@10", "NDCG@10", "95 %"]
    return (
        f"{_about(given)}; {machine()}\n\n{markdown_table(['stage', 'mean CPU seconds', 'peak GiB'], costs)}\n"
        f"{markdown_table(head, rows)}"
    )


def _overview(given: argparse.Namespace, results: Sequence[dict[str, Any]]) -> str:
    """The model beside whatever baseline is best there."""
    rows = []
    for relation in RELATIONS:
        for part in README_SLICES:
            cells = _pooled_cells(results, relation, part)
            rivals = {name: cell for name, cell in cells.items() if name != "mmsc"}
            if "mmsc" not in cells or not rivals:
                continue
            best = max(rivals, key=lambda name: rivals[name]["ndcg@10"])
            shown = [
                f"{cell['ndcg@10']:.3f} ({cell['low']:.3f}–{cell['high']:.3f})"
                for cell in (cells["mmsc"], rivals[best])
            ]
            gain = cells["mmsc"]["ndcg@10"] / rivals[best]["ndcg@10"] - 1 if rivals[best]["ndcg@10"] else math.inf
            rows.append([relation, part, shown[0], f"{best} {shown[1]}", f"{gain:+.1%}"])
    head = ["relation", "slice", "NDCG@10 of mmsc (95 %)", "best baseline", "gain"]
    return f"{_about(given)}\n\n{markdown_table(head, rows)}"


if __name__ == "__main__":
    main()
