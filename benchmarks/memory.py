"""Memory that a row of your own tables takes in `prepare`.

python -m benchmarks.memory
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from benchmarks.measured import machine, markdown_table, run_mmsc

GIB = 1 << 30
ITEMS, PAIRS, WORDS = 100_000, 1_000_000, 48


def main() -> None:
    """Measure, and write the table to stdout."""
    _write(f"{machine()}\n\n")
    with tempfile.TemporaryDirectory() as name:
        rows(Path(name))


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


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
