"""`mmsc run`, `init` and `check` on files: one command, no TOML."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

TYPES = ("Tent", "Stove", "Lamp", "Chair")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table of items and a log, which is the current folder."""
    rng = np.random.default_rng(1)
    with (tmp_path / "products.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["SKU", "Title", "Category", "Price"])
        for number in range(80):
            rows.writerow(
                [f"A{number:03}", f"{TYPES[number % 4]} {number}", f"Camp > {TYPES[number % 4]}", 10 + number]
            )
    with (tmp_path / "log.jsonl").open("w", encoding="utf-8") as log:
        for session in range(600):
            kind = int(rng.integers(4))
            for view in rng.choice(20, 3, replace=False):
                event = {"session_id": session, "event": "view_item", "sku": f"A{4 * view + kind:03}"}
                log.write(json.dumps(event) + "\n")
            first = int(rng.integers(20))
            for sku in (4 * first + kind, (4 * first + kind + 1) % 80):
                log.write(json.dumps({"session_id": session, "event": "purchase", "sku": f"A{sku:03}"}) + "\n")
            log.write(json.dumps({"session_id": session, "event": "add_to_cart", "sku": f"A{kind:03}"}) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_files_in_and_answers_out(mmsc: Mmsc, shop: Path) -> None:
    ran = mmsc(
        "run", "products.csv", "log.jsonl", "-w", "ws", "--set", "train.epochs=1", "--set", "evaluate.bootstrap=10"
    )

    assert (ran.code, ran.out) == (0, "")
    assert '  title ← "Title"\n' in ran.err
    assert "  view ← event = view_item (1,800)\n" in ran.err
    assert "  left out: event = add_to_cart (600)\n" in ran.err
    assert "label: skipped, as the recipe has no [label]" in ran.err
    assert "80 items, " in ran.err
    assert "held out: " in ran.err
    assert "substitutes: NDCG@10 " in ran.err
    assert ", best baseline " in ran.err
    *_, named, last = ran.err.splitlines()
    assert last.startswith("run: 80 items, ")
    assert named.startswith("next: `mmsc infer A")
    assert mmsc(*named.split("`")[1].split()[1:]).code == 0

    again = mmsc(
        "run",
        "products.csv",
        "log.jsonl",
        "-w",
        "ws",
        "--set",
        "train.epochs=1",
        "--set",
        "evaluate.bootstrap=10",
        "--json",
    )

    told = json.loads(again.out)
    assert set(told["stages"].values()) == {"up to date"}
    assert told["example"] in named


def test_init_writes_the_recipe_that_run_uses(mmsc: Mmsc, shop: Path) -> None:
    (shop / "shop.toml").write_text(mmsc("init", "products.csv", "log.jsonl").out, encoding="utf-8")

    assert mmsc("prepare", "shop.toml", "-w", "a").code == 0
    assert mmsc("prepare", "products.csv", "log.jsonl", "-w", "b").code == 0

    records = [Workspace(shop / name).manifest().stages["prepare"] for name in "ab"]
    assert records[0].files["items.parquet"].sha256 == records[1].files["items.parquet"].sha256
    assert records[0].files["pairs.parquet"].sha256 == records[1].files["pairs.parquet"].sha256
    recipes = [record.config["recipe"] for record in records]
    for recipe in recipes:
        recipe["source"] |= {
            "items": Path(recipe["source"]["items"]).name,
            "events": Path(recipe["source"]["events"]).name,
        }
    assert recipes[0] == recipes[1]


def test_visits_and_orders_in_two_files_make_views_and_purchases(mmsc: Mmsc, shop: Path) -> None:
    events = [json.loads(line) for line in (shop / "log.jsonl").read_text().splitlines()]
    for name, header, word in (("visits", "visit,article", "view_item"), ("orders", "order_no,article", "purchase")):
        rows = [f"{event['session_id']},{event['sku']}" for event in events if event["event"] == word]
        (shop / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    files = ("products.csv", "visits.csv", "orders.csv")

    ran = mmsc("prepare", *files, "-w", "a")
    (shop / "shop.toml").write_text(mmsc("init", *files).out, encoding="utf-8")

    assert ran.code == 0
    assert "  view ← visits.csv (all rows)\n  purchase ← orders.csv (all rows)\n" in ran.err
    for arguments in (("products.csv", "log.jsonl", "-w", "b"), ("shop.toml", "-w", "c")):
        assert mmsc("prepare", *arguments).code == 0
    pairs = [Workspace(shop / name).manifest().stages["prepare"].files["pairs.parquet"].sha256 for name in "abc"]
    assert len(set(pairs)) == 1


def test_init_keeps_its_guess_where_a_column_is_unknown(mmsc: Mmsc, shop: Path) -> None:
    log = (shop / "log.jsonl").read_text().replace('"session_id"', '"zork"')
    (shop / "log.jsonl").write_text(log)
    refused = mmsc("run", "products.csv", "log.jsonl", "-w", "ws")
    assert refused.code == 2
    assert 'no column is known to be session; it is one of "zork"' in refused.err
    assert "`mmsc init products.csv log.jsonl > shop.toml`" in refused.err
    written = mmsc("init", "products.csv", "log.jsonl")
    assert written.code == 0
    assert "warning: log.jsonl: no column is known to be session" in written.err
    (shop / "shop.toml").write_text(written.out.replace('# session = "zork"', 'session = "zork"'), encoding="utf-8")
    assert mmsc("prepare", "shop.toml", "-w", "ws").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["products.csv", "none.csv"], "no file at none.csv"),
        (["products.csv"], "items alone say nothing"),
        (["nowhere"], "no recipe named 'nowhere'"),
        (["shop.toml", "log.jsonl"], "is a recipe, and the other words are not part of it"),
        (["empty"], "no data in this folder"),
        (["my-events", "--set", "source.events=."], "no data in the folder empty"),
        (["my-events", "--set", "source.items=x.csv", "--input", "log.jsonl"], "the items first, then the log"),
        (["products.csv", "log.jsonl", "--input", "x.csv"], "--input goes with a recipe"),
    ],
)
def test_wrong_input_is_refused_and_says_how_to_fix_it(
    mmsc: Mmsc, shop: Path, arguments: list[str], message: str
) -> None:
    (shop / "empty").mkdir()
    (shop / "shop.toml").touch()
    if message == "no data in the folder empty":
        recipe = mmsc("recipes", "show", "my-events").out
        (shop / "empty" / "my.toml").write_text(recipe)
        arguments = ["empty/my.toml", *arguments[1:]]

    ran = mmsc("run", *arguments, "-w", "ws", "-q")

    assert ran.code == 2
    assert message in ran.err
    assert len(ran.err.splitlines()) == 2
