"""Speed and memory of `prepare`, as Markdown tables; every ratio is of one run on one machine.

python -m benchmarks.prepare literals --input meta_Digital_Music.json.gz    2014 dict literals against ast.literal_eval
python -m benchmarks.prepare records --input meta_Gift_Cards.json.gz        blown up to 100,000 and 1,000,000 records
python -m benchmarks.prepare events                                         20 million events against a pandas self-join
python -m benchmarks.prepare scores                                         which score finds the true pairs of the demo
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.measured import machine, markdown_table, whole_numbers
from mmsc_cli.files.line_blocks import LineBlocks
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources.amazon import read_amazon
from mmsc_cli.prepare.sources.demo.shoppers import Shoppers
from mmsc_cli.prepare.sources.demo.stock import stock_up
from mmsc_cli.prepare.sources.demo.true_pairs import true_relations
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS

MMSC = [sys.executable, "-m", "mmsc_cli"]
RECIPE = 'name = "log"\n[source]\nkind = "events"\nevents = "log.parquet"\nscore = "{score}"\nmin_support = {support}\n'
EVENTS_AT_A_TIME = 2_000_000


def main() -> None:
    """Run one of the benchmarks and write its table to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=("literals", "records", "events", "scores"))
    parser.add_argument("--input", type=Path, metavar="FILE", help="real metadata (literals, records)")
    parser.add_argument("--sizes", default="100000,1000000", help="records: how many")
    parser.add_argument("--copies", type=int, default=30, help="literals: how often the file is repeated")
    parser.add_argument("--rows", type=int, default=20_000_000, help="events: how many")
    parser.add_argument("--pandas-rows", type=int, default=2_000_000, help="events: how many pandas is given")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    _write(f"{machine()}\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        match given.benchmark:
            case "literals":
                literals(given.input, folder, given.copies, given.runs)
            case "records":
                records(given.input, folder, whole_numbers(given.sizes), given.runs)
            case "events":
                events(folder, given.rows, given.pandas_rows)
            case "scores":
                scores(folder)


def literals(path: Path, folder: Path, copies: int, runs: int) -> None:
    """Records per second of our reading (parsing, cleaning and writing) and of a loop that only parses."""
    lines = b"".join(block.content for block in LineBlocks(path, allow_truncated=True)).splitlines(keepends=True)
    big = folder / "meta.json.gz"
    with gzip.open(big, "wb", compresslevel=3) as file:
        for copy in range(copies):
            file.writelines(line.replace(b"'asin': '", b"'asin': '%02d" % copy, 1) for line in lines)
    rows, ratios = [], []
    for run in range(runs):
        started = time.perf_counter()
        with gzip.open(big) as file:
            parsed = sum(1 for line in file if ast.literal_eval(line.decode()))
        loop = parsed / (time.perf_counter() - started)
        (target := folder / f"delivery-{run}").mkdir()
        delivery = Delivery(target)
        started = time.perf_counter()
        read_amazon([big], delivery)
        ours = delivery.counts["records"] / (time.perf_counter() - started)
        assert delivery.counts["records"] == parsed
        ratios.append(ours / loop)
        rows.append((str(run + 1), f"{loop:,.0f}", f"{ours:,.0f}", f"{ours / loop:.2f}"))
    _write(f"{len(lines) * copies:,} records, {big.stat().st_size / 2**20:.0f} MiB of gzip\n\n")
    _table(("run", "ast.literal_eval, records/s", "prepare, records/s", "ratio"), rows)
    _write(f"\nmedian ratio {statistics.median(ratios):.2f}\n")


def records(path: Path, folder: Path, sizes: Sequence[int], runs: int) -> None:
    """Seconds and peak memory of `mmsc prepare`, all processes together, on real records under new ids."""
    rows, per_record = [], []
    for size in sizes:
        meta = folder / f"meta-{size}.json"
        _blow_up(path, meta, size)
        measured = [
            _measure([*MMSC, "prepare", "amazon-toys", "--input", str(meta), "-q", "-w", str(folder / f"w{run}")])
            for run in range(runs)
        ]
        seconds, peak = (statistics.median(figure) for figure in zip(*measured, strict=True))
        per_record.append(seconds / size)
        growth = per_record[-1] / per_record[0]
        row = f"{size:,}", f"{meta.stat().st_size / 2**20:,.0f}", f"{seconds:.1f}", f"{peak:.2f}", f"{growth:.2f}"
        rows.append(row)
        meta.unlink()
    _table(("records", "MiB of JSON", "seconds", "peak GiB", "time a record against the first row"), rows)
    _write(f"\nmedians of {runs} runs\n")


def _blow_up(path: Path, target: Path, size: int) -> None:
    """Real records again and again, each copy with ids of its own, its relations within the copy."""
    lines = b"".join(block.content for block in LineBlocks(path)).splitlines()
    with target.open("wb") as file:
        for number in range(size):
            copy, line = divmod(number, len(lines))
            record = json.loads(lines[line])
            for name in ("also_view", "also_buy"):
                record[name] = [f"{partner}{copy:04}" for partner in record.get(name) or []]
            file.write(json.dumps(record | {"asin": f"{record['asin']}{copy:04}"}).encode() + b"\n")


def events(folder: Path, rows: int, pandas_rows: int) -> None:
    """Seconds and peak memory from a log to pairs; pandas is given what still fits."""
    table = []
    for count in (pandas_rows, rows):
        _write_log(folder / "log.parquet", count)
        (folder / "log.toml").write_text(RECIPE.format(score="npmi", support=3))
        command = [*MMSC, "prepare", str(folder / "log.toml"), "-q", "-w", str(folder / "w")]
        seconds, peak = _measure(command)
        pairs = len(Pairs.read(folder / "w" / "pairs.parquet"))
        table.append(("mmsc prepare", f"{count:,}", f"{pairs:,}", f"{seconds:.1f}", f"{peak:.2f}"))
        if count == pandas_rows:
            log, found = folder / "log.parquet", folder / "found.txt"
            seconds, peak = _measure([sys.executable, "-m", "benchmarks.prepare", "pandas", str(log), str(found)])
            manifest = json.loads((folder / "w" / "manifest.json").read_text())
            kept = manifest["stages"]["prepare"]["counts"]["event_pairs_kept"]
            assert sum(map(int, found.read_text().split())) == kept, "both must find the same pairs"
            table.append(("pandas self-join", f"{count:,}", "the same", f"{seconds:.1f}", f"{peak:.2f}"))
    _table(("system", "events", "pairs", "seconds", "peak GiB"), table)


def _write_log(path: Path, rows: int, seed: int = 1) -> None:
    """Sessions of 2 to 12 events over items whose popularity follows a power law; related items share a block of 20."""
    rng = np.random.default_rng(seed)
    items = max(1_000, rows // 100)
    schema = pa.schema(
        [("session", pa.string()), ("item", pa.string()), ("type", pa.string()), ("time", pa.timestamp("s"))]
    )
    start = session = 0
    with pq.ParquetWriter(path, schema) as writer:
        while start < rows:
            lengths = rng.integers(2, 13, min(EVENTS_AT_A_TIME, rows - start) // 7 + 1)
            sessions = np.repeat(np.arange(session, session + len(lengths)), lengths)
            topic = np.repeat((items * rng.random(len(lengths)) ** 3).astype(np.int64), lengths)
            chance = (items * rng.random(len(sessions)) ** 3).astype(np.int64)
            item = np.where(
                rng.random(len(sessions)) < 0.7, topic // 20 * 20 + rng.integers(0, 20, len(sessions)), chance
            )
            columns = {
                "session": np.char.add("s", sessions.astype(str)),
                "item": np.char.add("item-", item.astype(str)),
                "type": np.where(rng.random(len(sessions)) < 0.8, "view", "purchase"),
                "time": 1_700_000_000 + sessions + rng.integers(0, 1_800, len(sessions)),
            }
            writer.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}).cast(schema))
            start += len(sessions)
            session += len(lengths)


def _join_with_pandas(path: Path, found: Path) -> None:
    """What one would write: once per session and type, joined with itself, counted, scored."""
    kept = []
    log = pd.read_parquet(path)[["session", "item", "type"]].drop_duplicates()
    for _, part in log.groupby("type"):
        joined = part.merge(part, on="session")
        joined = joined[joined["item_x"] < joined["item_y"]]
        together = joined.groupby(["item_x", "item_y"]).size()
        together = together[together >= 3]
        k, alone, n = together.to_numpy(float), part["item"].value_counts(), part["session"].nunique()
        a, b = (alone.loc[together.index.get_level_values(level)].to_numpy() for level in (0, 1))
        npmi = np.log(k * n / (a * b)) / -np.log(k / n)
        kept.append(int((npmi > 0).sum()))
    found.write_text(" ".join(map(str, kept)))


def scores(folder: Path) -> None:
    """How well a score tells true pairs of the demo shop from others, on a log of its shoppers' visits."""
    stock = stock_up(2_000, 1)
    truth = true_relations(stock)
    viewed, bought = Shoppers(stock, truth, 0.25, 1).visit(80_000)
    ends = [(np.minimum(e.source, e.target), np.maximum(e.source, e.target)) for e in (viewed, bought)]
    visits = np.cumsum([0, *(len(a) for a, _ in ends)])
    frames = [
        pd.DataFrame(
            {
                "session": np.tile(np.arange(visits[kind], visits[kind + 1]), 2).astype(str),
                "item": np.char.add("i", np.concatenate([a, b]).astype(str)),
                "type": name,
                "time": 0,
            }
        )
        for kind, (name, (a, b)) in enumerate(zip(("view", "purchase"), ends, strict=True))
    ]
    pd.concat(frames).to_parquet(folder / "log.parquet")
    true = {
        "substitute": _codes(truth.first, truth.second, len(stock)),
        "complement": _codes(truth.main, truth.accessory, len(stock)),
    }
    rows = []
    for score in ("npmi", "llr"):
        for support in (1, 2, 3):
            (folder / "log.toml").write_text(RECIPE.format(score=score, support=support))
            command = [*MMSC, "prepare", str(folder / "log.toml"), "-q", "-w", str(folder / "w")]
            subprocess.run(command, check=True)
            pairs = Pairs.read(folder / "w" / "pairs.parquet")
            ids = [int(item[1:]) for item in read_items(folder / "w" / "items.parquet")["item_id"].to_pylist()]
            rows.append((score, str(support), *_ranking(pairs, np.array(ids), true, len(stock))))
    counts = [_count_ranking(a, b, true[name], len(stock)) for name, (a, b) in zip(true, ends, strict=True)]
    rows.append(("raw count", "1", *(cell for pair in counts for cell in pair)))
    head = "score", "min_support", "substitute pairs", "AUROC", "complement pairs", "AUROC"
    _table(head, rows)


def _ranking(pairs: Pairs, ids: NDArray[np.int64], true: dict[str, NDArray[np.int64]], items: int) -> Iterable[str]:
    for relation in RELATIONS:
        strength = pairs.strength(relation)
        seen = strength > 0
        code = _codes(ids[pairs.a[seen]], ids[pairs.b[seen]], items)
        yield f"{seen.sum():,}"
        yield f"{_auroc(strength[seen], np.isin(code, true[relation])):.3f}"


def _count_ranking(a: NDArray[Any], b: NDArray[Any], true: NDArray[np.int64], items: int) -> tuple[str, str]:
    code, count = np.unique(_codes(a, b, items), return_counts=True)
    return f"{len(code):,}", f"{_auroc(count, np.isin(code, true)):.3f}"


def _codes(a: NDArray[Any], b: NDArray[Any], items: int) -> NDArray[np.int64]:
    codes: NDArray[np.int64] = np.minimum(a, b).astype(np.int64) * items + np.maximum(a, b)
    return codes


def _auroc(score: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    return float(roc_auc_score(positive, score))


def _measure(command: Sequence[str]) -> tuple[float, float]:
    """Wall seconds of a command, and the peak of the memory of all its processes together in GiB, sampled."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, sum(map(_resident, [process, *_children(process)])))
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {process.returncode}")
    return time.perf_counter() - started, peak / 2**30


def _children(process: psutil.Popen) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    _write(markdown_table(head, rows))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["pandas"]:
        _join_with_pandas(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
