"""What stages need: address space, by whether they finish under a limit; and memory of rows of your own tables.

python -m benchmarks.memory limits --input FILE [--trained WORKSPACE]   prepare, encode (and evaluate) of Amazon Beauty
python -m benchmarks.memory rows                                        bytes a row of items and of pairs takes
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measured import machine, markdown_table, run_mmsc

GIB = 1 << 30
LIMITS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
ITEMS, PAIRS, WORDS = 100_000, 1_000_000, 48


def main() -> None:
    """Run one of the benchmarks and write its table to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=("limits", "rows"))
    parser.add_argument("--input", type=Path, metavar="FILE", help="limits: metadata of Amazon Beauty")
    parser.add_argument("--trained", type=Path, metavar="WORKSPACE", help="limits: evaluate this one (it is rewritten)")
    given = parser.parse_args()
    _write(f"{machine()}\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.benchmark == "limits":
            limits(given.input, given.trained, folder)
        else:
            rows(folder)


def limits(source: Path, trained: Path | None, folder: Path) -> None:
    """The least of LIMITS under which each command finishes; below it each must end with exit code 2."""
    workspace = ["-w", str(folder / "workspace")]
    commands = [["prepare", "amazon-beauty", "--input", str(source)], ["encode", "--encoder", "classic"]]
    commands = [[*command, *workspace] for command in commands]
    if trained is not None:
        commands.append(["evaluate", "-w", str(trained)])
    table = []
    for command in commands:
        codes = {limit: _under(limit, command) for limit in LIMITS[::-1]}
        finished = [limit for limit, code in codes.items() if code == 0]
        refused = sorted({code for code in codes.values() if code})
        table.append((command[0], f"{min(finished):g}" if finished else "-", ", ".join(map(str, refused)) or "-"))
    _write(markdown_table(("command", "finishes within GiB", "exit codes below"), table))


def rows(folder: Path) -> None:
    """Peak memory of `prepare` on tables, less that of the same on tables of a thousand rows."""
    source = random.Random(1)
    words = [f"word{number}" for number in range(5_000)]

    def items(name: str, count: int) -> Path:
        with (folder / name).open("w") as file:
            file.write("item_id,title,description\n")
            for number in range(count):
                text = source.choices(words, k=WORDS)
                file.write(f"SKU{number:07d},{' '.join(text[:8])},{' '.join(text[8:])}\n")
        return folder / name

    def pairs(name: str, count: int, among: int) -> Path:
        with (folder / name).open("w") as file:
            file.write("a,b,co_view,co_purchase\n")
            for _ in range(count):
                first, second = source.randrange(among), source.randrange(among)
                file.write(f"SKU{first:07d},SKU{second:07d},{source.randrange(9)},{source.randrange(3)}\n")
        return folder / name

    def peak(items: Path, pairs: Path) -> float:
        given = ["--input", items, "--input", pairs]
        return run_mmsc("prepare", "my-shop", *given, "-q", "-w", folder / "workspace").peak_gib * GIB

    few_items, few_pairs = items("few-items.csv", 1_000), pairs("few-pairs.csv", 1_000, 1_000)
    base = peak(few_items, few_pairs)
    many_items, many_pairs = items("items.csv", ITEMS), pairs("pairs.csv", PAIRS, 1_000)
    table = [
        (kind, f"{count:,}", f"{file.stat().st_size / count:.0f}", f"{(found - base) / count:,.0f}")
        for kind, count, file, found in (
            ("items", ITEMS, many_items, peak(many_items, few_pairs)),
            ("pairs", PAIRS, many_pairs, peak(few_items, many_pairs)),
        )
    ]
    _write(markdown_table(("table", "rows", "bytes a row in the file", "bytes a row in memory"), table))


def _under(limit: float, command: list[str]) -> int:
    """The exit code of a command that may map so many GiB."""
    size = int(limit * GIB)
    ran = subprocess.run(
        [sys.executable, "-m", "mmsc_cli", *command],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
        capture_output=True,
        check=False,
    )
    return ran.returncode


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
