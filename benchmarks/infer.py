"""How fast `mmsc infer` answers, as Markdown tables; every ratio is of one run on one machine.

python -m benchmarks.infer start --items 100000     one question, from process start to exit, beside `import numpy`
python -m benchmarks.infer batch --items 100000     exact search beside a matrix product with argpartition; blocks
python -m benchmarks.infer table --items 100000     the nightly table of both relations
python -m benchmarks.infer large --items 1000000    opening, exact answers once warm, HNSW with its recall
python -m benchmarks.infer sizes                    from which size on HNSW is worth its building

The index is made up (`tests/fixtures/made_up_index.py`), so nothing has to be trained; --keep DIR uses it again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.measured import machine, markdown_table, run_mmsc, whole_numbers
from mmsc_cli.errors import MmscError
from mmsc_cli.index import build_hnsw, ranking
from mmsc_cli.index.build_hnsw import add_hnsw
from mmsc_cli.index.index_file import write_index
from mmsc_cli.infer.recommender import Recommender
from tests.fixtures.made_up_index import DIM, made_up_index

K = 10
START_LIMIT = 0.25


def main() -> None:
    """Run one of the benchmarks and write its table to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=("start", "batch", "table", "large", "sizes"))
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--sizes", default="50000,100000,200000,400000", help="sizes: how many items")
    parser.add_argument("--runs", type=int, default=20, help="start: how often; the others: questions or rounds")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the index here, and use it if it is there")
    given = parser.parse_args()
    _write(f"{machine()}\n\n")
    with tempfile.TemporaryDirectory() as temporary:
        root: Path = given.keep or Path(temporary)
        match given.benchmark:
            case "start":
                start(_workspace(root, given.items), given.runs)
            case "batch":
                batch(_workspace(root, given.items), given.runs)
            case "table":
                table(_workspace(root, given.items))
            case "large":
                large(_workspace(root, given.items), given.runs)
            case "sizes":
                sizes(root, whole_numbers(given.sizes), given.runs)


def start(workspace: Path, runs: int) -> None:
    """Seconds of a whole process, taken in turns with Python that imports numpy and nothing else."""
    item = Recommender.open(workspace).index.ids[1234]
    bare, asked = [], []
    for _ in range(runs + 1):
        bare.append(_seconds(lambda: subprocess.run([sys.executable, "-c", "import numpy"], check=True)))
        asked.append(_seconds(lambda: run_mmsc("infer", "-w", workspace, "--item", item)))
    # The first round fills the page cache.
    numpy_seconds, seconds = statistics.median(bare[1:]), statistics.median(asked[1:])
    over = statistics.median(each - other for each, other in zip(asked[1:], bare[1:], strict=True))
    _write(
        markdown_table(
            ("what", "median seconds"),
            [
                ('python -c "import numpy"', f"{numpy_seconds:.3f}"),
                ("mmsc infer --item X, both relations", f"{seconds:.3f}"),
                ("more than numpy alone (median of pairs)", f"{over:.3f}"),
            ],
        )
    )


def batch(workspace: Path, rounds: int) -> None:
    """Queries per second in one relation, ours and the plain product's in turns, on the same queries."""
    recommender = Recommender.open(workspace, exact=True)
    index = recommender.index
    rows = np.sort(np.random.default_rng(2).choice(len(index), 2_000, replace=False))
    ids = [index.ids[row] for row in rows.tolist()]
    vectors = index.vectors("substitute")

    def plain() -> None:
        for begin in range(0, len(rows), 256):
            scores = vectors.query[rows[begin : begin + 256]] @ vectors.key.T
            np.argpartition(scores, -K, axis=1)[:, -K:]

    def ours() -> None:
        assert not any(isinstance(outcome, MmscError) for outcome in recommender.answer(ids, "substitute", K))

    table: list[tuple[str, str, str]] = []
    for size in (8, 16, 32, 64):
        ranking.BLOCK_BYTES = size * 2**20
        pairs = [(_seconds(plain), _seconds(ours)) for _ in range(rounds)]
        ratio = statistics.median(first / second for first, second in pairs)
        speed = len(rows) / statistics.median(second for _, second in pairs)
        table.append(
            (f"answers with ids, titles and linear branch, blocks of {size} MiB", f"{speed:,.0f}", f"{ratio:.2f}")
        )
        numpy_speed = len(rows) / statistics.median(first for first, _ in pairs)
    rows_of_table = [("numpy product and argpartition, no more", f"{numpy_speed:,.0f}", "1.00"), *table]
    _write(markdown_table(("what", "queries/s", "median ratio to numpy in the same round"), rows_of_table))


def table(workspace: Path) -> None:
    """Seconds and memory of the nightly table, as `mmsc infer --all` writes it."""
    ran = run_mmsc("infer", "-w", workspace, "--all", "-k", 20, "--format", "parquet", into=os.devnull)
    items = len(Recommender.open(workspace))
    row = f"{items:,}", f"{2 * 20 * items:,}", f"{ran.seconds:.0f}", f"{ran.cpu_seconds:.0f}", f"{ran.peak_gib:.2f}"
    _write(markdown_table(("items", "rows", "seconds", "processor seconds", "peak GiB"), [row]))


def large(workspace: Path, questions: int) -> None:
    """What a large catalogue costs: opening it, asking it exactly, asking it through HNSW."""
    opening = [_seconds(lambda: Recommender.open(workspace, exact=True)) for _ in range(5)]
    exact = Recommender.open(workspace, exact=True)
    lines = [("opening", f"{1000 * statistics.median(opening):.1f} ms", "")]
    lines.append(("exact, one relation, once warm", f"{_latency(exact, questions):.1f} ms", "1"))
    built = time.perf_counter()
    recall = add_hnsw(workspace / "index", seed=1, smallest=0)
    built = time.perf_counter() - built
    if recall:
        first = exact.index.ids[0]
        opening = [_seconds(lambda: Recommender.open(workspace).substitutes(first)) for _ in range(5)]
        lines.append(("HNSW, opening and one answer", f"{1000 * statistics.median(opening):.1f} ms", ""))
        graph = _latency(Recommender.open(workspace), 10 * questions)
        lines.append(("HNSW, one relation, once warm", f"{graph:.2f} ms", f"{min(recall.values()):.3f}"))
        lines.append(("HNSW, building both relations", f"{built:.0f} s", ""))
    else:
        lines.append((f"HNSW, left out after {built:.0f} s of building", "", f"below {build_hnsw.LEAST_RECALL}"))
    _write(markdown_table(("what", "median", "recall of the exact ten"), lines))


def sizes(root: Path, counts: Sequence[int], questions: int) -> None:
    """A question's milliseconds, exactly and through HNSW, and what building the graphs takes."""
    lines = []
    for count in counts:
        workspace = _workspace(root / str(count), count)
        exact = _latency(Recommender.open(workspace, exact=True), questions)
        built = time.perf_counter()
        recall = add_hnsw(workspace / "index", seed=1, smallest=0)
        built = time.perf_counter() - built
        graph = f"{_latency(Recommender.open(workspace), 10 * questions):.2f}" if recall else "left out"
        reached = f"{min(recall.values()):.3f}" if recall else "–"
        lines.append((f"{count:,}", f"{exact:.1f}", graph, reached, f"{built:.0f}"))
    _write(markdown_table(("items", "exact, ms", "HNSW, ms", "recall", "building, s"), lines))


def _latency(recommender: Recommender, questions: int) -> float:
    """Median milliseconds of a question in one relation, after some that warm up."""
    rows = np.random.default_rng(3).choice(len(recommender), questions + 5)
    seconds = [
        _seconds(lambda item=recommender.index.ids[row]: recommender.substitutes(item, K))  # type: ignore[misc]
        for row in rows.tolist()
    ]
    return 1000 * statistics.median(seconds[5:])


def _workspace(root: Path, items: int) -> Path:
    """A workspace with nothing but a made-up index."""
    if not (root / "index" / "index.json").exists():
        (root / "index").mkdir(parents=True)
        write_index(root / "index", made_up_index(items), {"items": items, "dim": DIM})
    return root


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
