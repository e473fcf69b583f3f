"""`check`: what a person should look at before training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Mmsc


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Items of which many say little, and a log that only partly meets them."""
    rows = [f"A{number},Lamp {number // 2},{number + 1 if number < 4 else ''},{number // 3}" for number in range(10)]
    (tmp_path / "items.csv").write_text("sku,title,price,item_group_id\n" + "\n".join([*rows, rows[0]]))
    events = [
        f"2026-05-{1 + session % 9:02},s{session},{kind},{sku}"
        for session in range(12)
        for kind, sku in (
            ("view", f"A{session % 2}"),
            ("view", f"A{4 + 3 * (session % 2)}"),
            ("view", f"B{session}"),
            ("scroll", "A1"),
        )
    ]
    (tmp_path / "log.csv").write_text("date,session,event,sku\n" + "\n".join(events))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_figures_and_problems(mmsc: Mmsc, shop: Path) -> None:
    report = json.loads(mmsc("check", "items.csv", "log.csv", "--set", "source.min_support=1", "--json").out)

    assert "no co_purchase pairs: complements cannot be learned" in report["problems"]
    assert "60% of the items have no price" in report["problems"]
    assert "100% of the items have no category" in report["problems"]
    assert report["rows"] == {"records": 11, "relations": report["rows"]["relations"], "events": 48}
    assert report["items"]["items"] == 10
    assert report["items"]["without title"] == 0
    assert report["items"]["records with an id twice"] == 1
    assert report["items"]["groups of variants"] == 4
    assert report["items"]["titles of several products"] == 2
    assert report["log"] == {
        "first_day": "2026-05-01",
        "last_day": "2026-05-09",
        "types": {"view": 36, "scroll": 12},
        "sessions": 12,
        "events repeated within a session": 0,
    }
    assert report["ids"]["both"] == 4
    assert report["ids"]["log_only"] == 12
    assert report["ids"]["log_only_examples"] == ["B0", "B1", "B10"]
    assert report["ids"]["items_only_examples"] == ["A2", "A3", "A5"]
    assert report["pairs"]["co-view"]["pairs"] >= 1
    assert report["lost"]["events of other types"] == 12


def test_problems_come_first_and_nothing_is_kept(mmsc: Mmsc, shop: Path) -> None:
    before = sorted(shop.rglob("*"))

    ran = mmsc("check", "items.csv", "log.csv", "--set", "source.min_support=1")

    assert ran.out.splitlines()[1].startswith("problems\t1\t")
    assert "warning" not in ran.err
    assert sorted(shop.rglob("*")) == before


def test_rows_of_pairs_that_repeat_one_are_counted(mmsc: Mmsc, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("sku,title\n" + "".join(f"A{number},Lamp\n" for number in range(9)))
    pairs = [f"A{number},A{number + 1},1\n" for number in range(8)]
    (tmp_path / "pairs.csv").write_text("item_a,item_b,co_view\n" + "".join([*pairs, *pairs[:3]]))
    report = json.loads(mmsc("check", tmp_path / "items.csv", tmp_path / "pairs.csv", "--json").out)
    assert report["pairs"]["rows that repeat one"] == 3
    assert report["ids"]["both"] == 9


def test_what_is_prepared_is_described_as_its_source_is(mmsc: Mmsc, shop: Path) -> None:
    settings = ("--set", "source.min_support=1")
    assert mmsc("prepare", "items.csv", "log.csv", "-w", "ws", *settings).code == 0
    prepared, source = (
        json.loads(mmsc("check", *words, "--json").out) for words in (("-w", "ws"), ("items.csv", "log.csv", *settings))
    )
    assert prepared == source
    none = mmsc("check")
    assert (none.code, "`mmsc prepare SOURCE`" in none.err) == (2, True)
    assert mmsc("check", "-w", "ws", *settings).code == 2


def test_a_source_without_images_is_no_problem_and_titles_with_commas_stay_apart(mmsc: Mmsc, shop: Path) -> None:
    path = shop / "items.csv"
    path.write_text("sku,title,price\n" + "".join(f'A{n},"Lamp, red, {n // 3}",{n + 1}\n' for n in range(10)))
    ran = mmsc("check", "items.csv", "log.csv", "--set", "source.min_support=1")
    problems = [line for line in ran.out.splitlines() if line.startswith("problems")]
    assert not any("image" in line for line in problems)
    assert "notes\t1\tno item names an image: text and behaviour alone decide\n" in ran.out
    assert "items\tfor example\tLamp, red, 0 | Lamp, red, 1 | Lamp, red, 2\n" in ran.out
