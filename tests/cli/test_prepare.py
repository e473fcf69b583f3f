"""What `mmsc prepare` tells, and its own options."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

Mmsc = Any


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A recipe beside a catalogue with every kind of mess."""
    (tmp_path / "items.csv").write_text(
        "sku;name;price;category\n"
        'A;Salt &amp <i>pepper</i>;"$1,299.99";Kitchen\n'
        "A;;;\n"
        "B;var page = 1;$5 - $9;\n"
        ";nobody;;\n"
        "C;Mat;call us;A > B > Suitable for everybody in the family who likes to play a game.\n",
        encoding="utf-8",
    )
    (tmp_path / "pairs.tsv").write_text(
        "a\tb\tco_view\nA\tB\t1\nA\tB\t2\nB\tC\t1\nA\tA\t1\nA\tGONE\t1\nC\tA\t0\n", encoding="utf-8"
    )
    recipe = tmp_path / "shop.toml"
    recipe.write_text(
        'name = "shop"\n[source]\nkind = "table"\nitems = "items.csv"\npairs = "pairs.tsv"\n'
        '[source.columns]\nitem_id = "sku"\ntitle = "name"\n'
    )
    return recipe


def test_every_kind_of_loss_is_told(mmsc: Mmsc, shop: Path, tmp_path: Path) -> None:
    ran = mmsc("prepare", shop, "-w", tmp_path / "w")
    assert ran.code == 0, ran.err
    assert ran.out == ""
    for line in (
        "3 items, 2 co-view and 0 co-purchase pairs",
        "repeated records (the richest of each id is kept): 1\n",
        "records without an id: 1\n",
        "relations said twice: 1\n",
        "relations of an item to itself: 1\n",
        "relations to or from items outside the set that no second item has: 1\n",
        "relations without a strength: 1\n",
        "texts freed of tags or entities: 1\n",
        "titles that were a page's code, now empty: 1\n",
        "price ranges, of which the lower end is kept: 1\n",
        "prices that are none: 1\n",
    ):
        assert line in ran.err


def test_the_manifest_holds_the_counts_and_they_add_up(mmsc: Mmsc, shop: Path, tmp_path: Path) -> None:
    ran = mmsc("prepare", shop, "-w", tmp_path / "w", "--json", "-q")
    counts = json.loads(ran.out)["counts"]
    assert counts == json.loads((tmp_path / "w" / "manifest.json").read_text())["stages"]["prepare"]["counts"]
    assert counts["records"] == counts["items"] + counts["repeated"] + counts["without_id"] == 5
    assert counts["relations"] == sum(value for name, value in counts.items() if name.startswith("relations_")) == 6
    assert ran.err.splitlines() == [f"warning: {warning}" for warning in counts["warnings"]]
    assert len(counts["warnings"]) == 2, "too few pairs of either relation"


def test_a_log_alone_is_enough(mmsc: Mmsc, tmp_path: Path) -> None:
    visits = [(f"s{number}", item) for number in range(4) for item in ("tent", "mat", f"other{number}")]
    rows = [f"{session},{item},view,{1_700_000_000 + number}" for number, (session, item) in enumerate(visits)]
    (tmp_path / "log.csv").write_text("session,item,type,time\n" + "\n".join(rows) + "\ns9,tent,cart,1\n")
    recipe = tmp_path / "shop.toml"
    recipe.write_text('name = "shop"\n[source]\nkind = "events"\nevents = "*.csv"\nmin_support = 3\n')
    ran = mmsc("prepare", recipe, "-w", tmp_path / "w", "--json")
    assert ran.code == 0, ran.err
    counts = json.loads(ran.out)["counts"]
    assert (counts["items"], counts["pairs"], counts["events"], counts["events_of_other_type"]) == (6, 1, 13, 1)
    assert counts["event_pairs"] == counts["event_pairs_kept"] + counts["event_pairs_below_support"] == 9 - 8
    assert "events of other types" in ran.err


def test_a_cut_file_is_kept_only_if_allowed(mmsc: Mmsc, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"asin": f"A{n}", "also_view": [f"A{n + 1}"]}) + "\n" for n in range(9_000))
    whole = gzip.compress(lines.encode())
    path = tmp_path / "meta.json.gz"
    path.write_bytes(whole[: len(whole) // 2])
    command = ["prepare", "amazon-toys", "--input", path, "-w", tmp_path / "w"]
    ran = mmsc(*command)
    assert ran.code == 2
    assert "the gzip stream breaks after record" in ran.err
    assert "--allow-truncated" in ran.err
    assert not (tmp_path / "w" / "manifest.json").exists()
    ran = mmsc(*command, "--allow-truncated", "--json")
    assert ran.code == 0
    counts = json.loads(ran.out)["counts"]
    assert counts["truncated"] == {"meta.json.gz": {"after_record": counts["records"]}}
    assert "warning: " in ran.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["prepare", "demo", "--images"], ["names no addresses of images", "leave --images out"]),
        (["prepare", "demo", "--allow-truncated"], ["source.allow_truncated", "no such setting"]),
        (["prepare", "my-events"], ["no file at", "events.csv"]),
    ],
)
def test_an_option_that_does_not_fit_the_source_is_told(
    mmsc: Mmsc, tmp_path: Path, command: list[str], words: list[str]
) -> None:
    ran = mmsc(*command, "-w", tmp_path / "w")
    assert ran.code == 2
    assert all(word in ran.err for word in words)
