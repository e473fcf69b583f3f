"""What must not matter does not: the order of input, hash seeds, and (but for rounding in training) threads."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mmsc_cli.workspace.checksums import digest
from mmsc_cli.workspace.workspace import Workspace

UNTRAINED = ("items.parquet", "pairs.parquet", "labels.parquet", "embeddings")
SECONDS = "metrics.jsonl"  # holds what each epoch took
SHOP = ("--set", "source.items=300", "--set", "label.budget=200", "--set", "train.epochs=2")


def _mmsc(*arguments: object, threads: int = 1, hash_seed: int = 0, one_core: bool = False) -> subprocess.Popen[str]:
    threads_of = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    core = min(os.sched_getaffinity(0)) if one_core and hasattr(os, "sched_getaffinity") else None
    return subprocess.Popen(
        [sys.executable, "-m", "mmsc_cli", *map(str, arguments)],
        env=os.environ | threads_of | {"PYTHONHASHSEED": str(hash_seed)},
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


@dataclass(frozen=True)
class Shops:
    """The demo shop, from `prepare` to `evaluate`, in three processes.

    Attributes:
        first: one thread, one core.
        reseeded: one thread, all cores, another hash seed.
        threaded: two threads, all cores, a third hash seed.
    """

    first: Workspace
    reseeded: Workspace
    threaded: Workspace


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Shops:
    """All three at once."""
    folder = tmp_path_factory.mktemp("shops")
    made = [Workspace(folder / name) for name in ("first", "reseeded", "threaded")]
    started = [
        _mmsc("run", "demo", *SHOP, "-w", made[0].root, one_core=True),
        _mmsc("run", "demo", *SHOP, "-w", made[1].root, hash_seed=1),
        _mmsc("run", "demo", *SHOP, "-w", made[2].root, hash_seed=2, threads=2),
    ]
    for process in started:
        _output(process)
    return Shops(*made)


@pytest.mark.slow
def test_hash_seed_and_cores_change_no_byte(shops: Shops) -> None:
    for name in (*UNTRAINED, "index"):
        assert digest(shops.first.path(name)) == digest(shops.reseeded.path(name)), name
    for path in shops.first.path("model").iterdir():
        if path.name != SECONDS:
            assert digest(path) == digest(shops.reseeded.path("model") / path.name), path.name
    assert _figures(shops.first) == _figures(shops.reseeded)


@pytest.mark.slow
def test_threads_change_no_byte_before_training(shops: Shops) -> None:
    for name in UNTRAINED:
        assert digest(shops.first.path(name)) == digest(shops.threaded.path(name)), name


@pytest.mark.slow
def test_threads_change_figures_by_no_more_than_rounding(shops: Shops) -> None:
    figures = [_figures(workspace) for workspace in (shops.first, shops.threaded)]
    for relation, slices in figures[0].items():
        for name, of_slice in slices.items():
            if of_slice["queries"]:
                assert figures[1][relation][name]["ndcg@10"] == pytest.approx(of_slice["ndcg@10"], abs=0.005), name


@pytest.mark.slow
def test_threads_cores_and_hash_seed_change_no_answer(shops: Shops) -> None:
    ask = ("infer", "--all", "--relation", "both", "-w", shops.first.root)

    assert _output(_mmsc(*ask, one_core=True)) == _output(_mmsc(*ask, threads=2, hash_seed=1))


def _figures(workspace: Workspace) -> dict[str, dict[str, dict[str, float]]]:
    figures = json.loads(workspace.path("metrics.json").read_bytes())["models"]["mmsc"]
    return {relation: figures[relation] for relation in ("substitute", "complement")}


# What a shop hands in, as lines of files. Some records and rows come twice, with other words.


def _ids(count: int = 60) -> list[str]:
    return [f"S{number:03d}" for number in range(count)]


def _amazon_lines() -> list[str]:
    generator = np.random.default_rng(1)
    ids = _ids()
    records = [
        {
            "asin": item,
            "title": f"{word} {item}",
            "also_view": generator.choice(ids, 6).tolist(),
            "also_buy": generator.choice(ids, 4).tolist(),
        }
        for word in ("lamp", "chair")
        for item in (ids if word == "lamp" else ids[:15])
    ]
    return [json.dumps(record) for record in records]


def _pair_lines() -> list[str]:
    generator = np.random.default_rng(2)
    return [f"{a},{b},{generator.integers(4)},1" for a, b in generator.choice(_ids(), (400, 2))]


def _item_lines() -> list[str]:
    return [f"{item},{word} {item}" for word in ("lamp", "chair") for item in _ids()]


def _event_lines() -> list[str]:
    generator = np.random.default_rng(3)
    return [
        f"s{session},{item},view,{1_700_000_000 + generator.integers(10_000)}"
        for session in range(200)
        for item in generator.choice(_ids(30), 6)
    ]


def _same_tables(first: Path, second: Path) -> None:
    """The two tables agree to the byte, and so do all counts."""
    one, other = Workspace(first), Workspace(second)
    for name in ("items.parquet", "pairs.parquet"):
        assert digest(one.path(name)) == digest(other.path(name)), name
    assert one.manifest().stages["prepare"].counts == other.manifest().stages["prepare"].counts


def _shuffled(lines: list[str]) -> list[str]:
    return random.Random(4).sample(lines, len(lines))


def test_records_of_amazon_may_come_in_any_order_from_any_file(tmp_path: Path) -> None:
    lines, shuffled = _amazon_lines(), _shuffled(_amazon_lines())
    parts = {"a": lines[:30], "b": lines[30:], "c": shuffled[:50], "d": shuffled[50:]}
    for name, part in parts.items():
        (tmp_path / name).write_text("\n".join(part) + "\n")

    for workspace, inputs in (("first", "ab"), ("swapped", "ba"), ("shuffled", "cd")):
        given = [argument for name in inputs for argument in ("--input", tmp_path / name)]
        _output(_mmsc("prepare", "amazon-toys", *given, "-w", tmp_path / workspace))

    _same_tables(tmp_path / "first", tmp_path / "swapped")
    _same_tables(tmp_path / "first", tmp_path / "shuffled")


def test_rows_of_tables_may_come_in_any_order(tmp_path: Path) -> None:
    for workspace, order in (("first", list), ("shuffled", _shuffled)):
        items, pairs = tmp_path / f"{workspace}.items.csv", tmp_path / f"{workspace}.pairs.csv"
        items.write_text("\n".join(["item_id,title", *order(_item_lines())]) + "\n")
        pairs.write_text("\n".join(["a,b,co_view,co_purchase", *order(_pair_lines())]) + "\n")
        _output(_mmsc("prepare", "my-shop", "--input", items, "--input", pairs, "-w", tmp_path / workspace))

    _same_tables(tmp_path / "first", tmp_path / "shuffled")


def test_events_may_come_in_any_order(tmp_path: Path) -> None:
    recipe = tmp_path / "log.toml"
    recipe.write_text(
        'name = "log"\n[source]\nkind = "events"\nevents = "log.csv"\nmin_support = 2\nsession_items = 4\n'
    )
    for workspace, order in (("first", list), ("shuffled", _shuffled)):
        (tmp_path / "log.csv").write_text("\n".join(["session,item,type,time", *order(_event_lines())]) + "\n")
        _output(_mmsc("prepare", recipe, "-w", tmp_path / workspace))

    _same_tables(tmp_path / "first", tmp_path / "shuffled")
