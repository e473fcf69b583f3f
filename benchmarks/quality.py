"""The whole path on one data set: seconds and peak memory per stage, then quality beside the baselines, as Markdown.

python benchmarks/quality.py amazon-beauty --input meta_Beauty_5core.json.gz
python benchmarks/quality.py demo
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MMSC = Path(sys.executable).with_name("mmsc")


def main() -> None:
    """Run the stages and write the tables to stdout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--input", action="append", default=[], metavar="FILE")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--baselines", default="popularity,resource-allocation,ease,text-knn,knn-transfer")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = ["-w", folder, "--seed", given.seed, "-q"]
        files = [part for path in given.input for part in ("--input", path)]
        stages = {
            "prepare": ["prepare", given.recipe, *files],
            "encode": ["encode", "--encoder", "classic"],
            "train": ["train"],
            "evaluate": ["evaluate", "--json", "--baselines", given.baselines],
        }
        rows = []
        for name, arguments in stages.items():
            output, seconds, peak = _measured([*arguments, *workspace])
            rows.append((name, f"{seconds:.1f}", f"{peak:.2f}"))
        _write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, no GPU used\n\n")
        _table(("stage", "seconds", "peak GiB"), rows)
        _write("\n")
        _table(("system", "relation", "slice", "queries", "Hit@10", "NDCG@10", "95 %"), _figures(json.loads(output)))


def _measured(arguments: list[str]) -> tuple[str, float, float]:
    """stdout, wall seconds and peak GiB of one command, by the operating system's own account."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as stdout:
        process = subprocess.Popen([str(MMSC), *arguments], stdout=stdout)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"mmsc {' '.join(arguments)} failed with exit code {process.returncode}")
        stdout.seek(0)
        unit = 2**30 if sys.platform == "darwin" else 2**20
        return stdout.read(), time.monotonic() - started, usage.ru_maxrss / unit


def _figures(result: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            model,
            relation,
            part,
            str(figures["queries"]),
            f"{figures['hit@10']:.3f}",
            f"{figures['ndcg@10']:.3f}",
            "{:.3f}–{:.3f}".format(*figures["ndcg@10_ci"]),
        )
        for model, relations in result["models"].items()
        for relation, slices in relations.items()
        if relation != "seconds"
        for part, figures in slices.items()
        if figures["queries"]
    ]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    for row in (head, ("---",) * len(head), *rows):
        _write(f"| {' | '.join(row)} |\n")


def _write(text: str) -> None:
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
