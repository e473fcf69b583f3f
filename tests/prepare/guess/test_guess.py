"""Files alone: what they are, which columns they have, what their events are called."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.guess.arguments import find_sources
from mmsc_cli.prepare.guess.event_types import type_of
from mmsc_cli.prepare.guess.guess import Guess, guess
from mmsc_cli.prepare.guess.recipe_text import recipe_text
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.loading import change_recipe, load_recipe
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.workspace.workspace import Workspace

ITEMS = "SKU;Product Name;Warengruppe;Preis EUR;Hersteller;Bild\n" + "".join(
    f"A-{number};Lamp number {number};Home > Lamps;{number},50 €;Nordo;https://x.example/{number}.jpg\n"
    for number in range(1, 40)
)
EVENTS = "Event Time,event_type,productId,user_session,user_id\n" + "".join(
    f"2026-05-{1 + number % 28:02} 10:00:00,{'view' if number % 4 else 'Order Completed'},A-{1 + number % 39},"
    f"s{number // 4},u{number}\n"
    for number in range(400)
)


def _guess(*paths: Path) -> Guess:
    return guess(find_sources([str(path) for path in paths]))


def _recipe(tmp_path: Path, decided: Guess) -> Recipe:
    path = tmp_path / "guessed.toml"
    path.write_text(recipe_text(decided), encoding="utf-8")
    return load_recipe(str(path))


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Path, Path]:
    """A table of items and a log, with names of their own."""
    items, events = tmp_path / "items.csv", tmp_path / "events.csv"
    items.write_text(ITEMS, encoding="utf-8")
    events.write_text(EVENTS, encoding="utf-8")
    return items, events


def test_items_and_events_of_any_names(shop: tuple[Path, Path], tmp_path: Path) -> None:
    decided = _guess(*reversed(shop))

    assert decided.columns == {
        "item_id": "SKU",
        "title": "Product Name",
        "price": "Preis EUR",
        "brand": "Hersteller",
        "image_url": "Bild",
        "category": "Warengruppe",
        "item": "productId",
        "session": "user_session",
        "type": "event_type",
        "time": "Event Time",
    }
    assert decided.types == {"view": ["view"], "purchase": ["Order Completed"]}
    assert "  view ← event_type = view (300)" in list(decided.decisions())
    source = _recipe(tmp_path, decided).source
    assert source.kind == "events"
    assert source.columns == decided.columns
    assert (source.items, source.events) == tuple(map(str, shop))


def _as_jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _as_parquet(path: Path, rows: list[dict[str, str]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def _as_gzip(path: Path, rows: list[dict[str, str]]) -> None:
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


@pytest.mark.parametrize(
    ("ending", "write"), [("jsonl", _as_jsonl), ("parquet", _as_parquet), ("csv.gz", _as_gzip), ("txt", _as_gzip)]
)
def test_any_kind_of_file(
    tmp_path: Path, shop: tuple[Path, Path], ending: str, write: Callable[[Path, list[dict[str, str]]], None]
) -> None:
    header, *lines = EVENTS.splitlines()
    log = tmp_path / f"log.{ending}"
    write(log, [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines])

    decided = _guess(shop[0], log)

    assert decided.words == {"view": 300, "Order Completed": 100}
    assert decided.columns["item"] == "productId"


def test_orders_without_types_are_purchases(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_text("InvoiceNo,StockCode,Quantity,InvoiceDate\n" + "536,A-1,6,2026-01-01\n536,A-2,1,2026-01-01\n")

    decided = _guess(shop[0], orders)

    assert decided.all_purchases
    assert decided.columns["session"] == "InvoiceNo"
    assert "[source.types]" not in recipe_text(decided)


def test_a_shopper_is_no_visit(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    rows = "".join(f"{1_443_650_000_000 + row},{row // 3},view,{row % 7},\n" for row in range(60))
    log.write_text("timestamp,visitorid,event,itemid,transactionid\n" + rows)

    decided = _guess(log)

    assert decided.window_minutes == 30
    assert _recipe(tmp_path, decided).source.model_dump()["window_minutes"] == 30


def test_pairs_and_items(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("Item A\tItem B\tviews\tbought_together\nA-1\tA-2\t0.5\t1\n")

    source = _recipe(tmp_path, _guess(pairs, shop[0])).source

    assert source.kind == "table"
    assert {"a": "Item A", "b": "Item B", "co_view": "views", "co_purchase": "bought_together"}.items() <= (
        source.columns.items()
    )


def test_the_ids_of_the_log_decide_which_column_of_the_items_is_the_id(tmp_path: Path) -> None:
    items, log = tmp_path / "items.csv", tmp_path / "log.csv"
    items.write_text("id,sku,title\n" + "".join(f"{900 + row},S{row},Lamp {row}\n" for row in range(30)))
    log.write_text("session_id,event,sku\n" + "".join(f"{row // 3},view,S{row % 30}\n" for row in range(90)))

    decided = _guess(items, log)

    assert decided.columns["item_id"] == "sku"
    assert any("are those of" in note for note in decided.notes)


def test_a_folder_of_daily_files_stays_a_folder(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    folder = tmp_path / "log"
    for day in ("2026-05-01", "2026-05-02"):
        (folder / f"dt={day}").mkdir(parents=True)
        (folder / f"dt={day}" / "part.csv").write_text(EVENTS)

    decided = _guess(shop[0], folder)

    assert decided.sources["events"] == [str(folder)]
    assert decided.words["view"] == 600


def test_parts_of_a_table_of_items_are_read_together(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    header, *lines = ITEMS.splitlines()
    for part, rows in enumerate((lines[:20], lines[15:])):
        (tmp_path / f"part-{part}.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    decided = guess(find_sources([str(tmp_path / "part-*.csv"), str(shop[1])]))
    recipe = _recipe(tmp_path, decided)

    counts = [
        prepare(Workspace(tmp_path / name), whole, config={})
        for name, whole in (("parts", recipe), ("whole", _recipe(tmp_path, _guess(*shop))))
    ]

    assert decided.sources["items"] == [str(tmp_path / "part-*.csv")]
    assert [count["items"] for count in counts] == [39, 39]
    assert counts[0]["repeated"] == 5
    for name in ("items.parquet", "pairs.parquet"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_folder_of_everything_is_sorted_out(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    (tmp_path / "truth.json").write_text('{"kind": 1}')

    decided = _guess(tmp_path)

    assert decided.sources == {"events": [str(shop[1])], "items": [str(shop[0])]}
    assert any("truth.json" in note for note in decided.notes)


def test_what_a_pattern_of_the_shell_catches_beside_the_data_is_said_and_not_used(
    tmp_path: Path, shop: tuple[Path, Path]
) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"theme": {"colour": "red"}}, indent=2))
    (tmp_path / "notes.md").write_text("# Notes")
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "manifest.json").write_text("{}")
    decided = _guess(*sorted(tmp_path.iterdir()))
    assert decided.sources == {"events": [str(shop[1])], "items": [str(shop[0])]}
    for name in ("settings.json", "notes.md", "workspace"):
        assert any(note.startswith("not used: ") and name in note for note in decided.notes)
    with pytest.raises(InputError, match=r"settings\.json"):
        _guess(shop[0], tmp_path / "settings.json")


def test_items_beside_pairs_may_be_several_files(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    header, *rows = ITEMS.splitlines(keepends=True)
    parts = [tmp_path / "part-1.csv", tmp_path / "part-2.csv"]
    parts[0].write_text("".join([header, *rows[:20]]), encoding="utf-8")
    parts[1].write_text("".join([header, *rows[20:]]), encoding="utf-8")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("a,b,co_view\n" + "".join(f"A-{n},A-{n + 1},1\n" for n in range(1, 39)))
    recipe = _recipe(tmp_path, _guess(*parts, pairs))
    counts = prepare(Workspace(tmp_path / "space"), recipe, recipe_directory=tmp_path)
    assert (counts["items"], counts["pairs"]) == (39, 38)


def _german_log(column: str, view: str, purchase: str, moment: str = "{:02}.05.2026 10:15") -> str:
    rows = [
        f"{moment.format(1 + session % 28)};K{session};{word};A-{1 + (session + item) % 39}"
        for session in range(80)
        for item, word in enumerate((view, view, purchase, purchase))
    ]
    return f"Zeitpunkt;Kundennummer;{column};Artikelnummer\n" + "\n".join(rows)


@pytest.mark.parametrize(
    ("column", "view", "purchase"), [("Ereignis", "Produktansicht", "Kauf"), ("Was", "view", "purchase")]
)
def test_types_are_found_by_german_words_and_by_content(
    tmp_path: Path, shop: tuple[Path, Path], column: str, view: str, purchase: str
) -> None:
    shop[1].write_text(_german_log(column, view, purchase), encoding="utf-8")
    decided = _guess(*shop)
    assert decided.types == {"view": [view], "purchase": [purchase]}
    assert decided.columns["time"] == "Zeitpunkt"
    assert decided.window_minutes == 30
    counts = prepare(Workspace(tmp_path / "space"), _recipe(tmp_path, decided), recipe_directory=tmp_path)
    assert counts["log"]["first_day"] == "2026-05-01"
    assert counts["co_view_pairs"] > 0


def test_a_log_of_shoppers_whose_types_nobody_knows_is_a_warning(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    shop[1].write_text(_german_log("Was", "geguckt", "mitgenommen"), encoding="utf-8")
    counts = prepare(Workspace(tmp_path / "space"), _recipe(tmp_path, _guess(*shop)), recipe_directory=tmp_path)
    assert any("'geguckt', 'mitgenommen'" in warning and 'type = "Was"' in warning for warning in counts["warnings"])


@pytest.mark.parametrize(("session", "doubted"), [("visit_id", True), ("sid", True), ("order_no", False)])
def test_visits_whose_types_nobody_knows_are_a_warning_and_orders_are_not(
    session: str, doubted: bool, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    steps = ("landing", "pdp_opened", "checkout_done")
    rows = [f"s{number // 3},{number % 7},{steps[number % 3]}" for number in range(600)]
    path.write_text("\n".join([f"{session},article,step", *rows]) + "\n")
    source = {"kind": "events", "events": str(path), "columns": {"session": session, "item": "article"}}
    counts = prepare(
        Workspace(tmp_path / "space"),
        change_recipe({"name": "visits", "source": source}, (), {}),
        recipe_directory=tmp_path,
    )
    assert any('type = "step"' in warning for warning in counts["warnings"]) is doubted


def test_a_column_of_times_that_are_none_is_not_passed_over(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    shop[1].write_text(_german_log("Ereignis", "view", "purchase", moment="heute"), encoding="utf-8")
    recipe = _recipe(tmp_path, _guess(*shop))
    with pytest.raises(InputError, match=r"events_without_time 320.*seen: 'heute'"):
        prepare(Workspace(tmp_path / "space"), recipe, recipe_directory=tmp_path)


def test_a_file_that_is_named_twice_is_refused(shop: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="named twice"):
        _guess(shop[0], shop[1], shop[1])


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"session": 1, "sku": "A-1", "event": "view"}\n{broken\n')
    with pytest.raises(InputError, match="line 2 is not JSON"):
        _guess(shop[0], log)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("a,b,co_view\n" + "A-1,A-2,often\n" * 9)
    with pytest.raises(InputError, match=r"'co_view' holds \['often'\]"):
        _guess(shop[0], pairs)
    shop[0].write_bytes(ITEMS.encode("utf-16"))
    with pytest.raises(InputError, match="not readable: byte 0xff is not UTF-8, the file is UTF-16"):
        _guess(*shop)


def test_logs_of_two_known_exports_are_read_together(tmp_path: Path) -> None:
    events, orders = tmp_path / "events.jsonl", tmp_path / "orders.csv"
    event = {
        "event_name": "view_item",
        "event_timestamp": "1785545828600000",
        "user_pseudo_id": "1",
        "event_params": [],
    }
    rows = [
        {**event, "items": [{"item_id": "A-1"}]},
        {**event, "event_name": "purchase", "items": [{"item_id": "A-2"}]},
    ]
    _as_jsonl(events, rows)  # type: ignore[arg-type]
    orders.write_text("Name,Lineitem sku,Lineitem quantity,Created at\n#1,A-1,1,2026-08-01 04:54:23 +0200\n")

    decided = _guess(events, orders)

    assert decided.types == {"view": ["view_item"]}
    assert "the orders say what was bought: the log's own purchases are left out" in "".join(decided.notes)
    assert _recipe(tmp_path, decided).source.model_dump()["types"]["purchase"] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"items.csv": ITEMS}, "items alone say nothing"),
        ({"items.csv": ITEMS, "more.csv": ITEMS.replace("SKU", "Artikelnummer"), "log.csv": EVENTS}, "several files"),
        ({"numbers.csv": "x,y\n1,2\n"}, r"neither items nor events nor pairs.*\['x', 'y'\]"),
        ({"empty.csv": "sku,title\n"}, "no row"),
        ({"log.csv": EVENTS, "pairs.csv": "a,b,co_view\n1,2,3\n"}, "holds events and .* holds pairs"),
        ({"pairs.csv": "a,b,co_view\n1,2,3\n"}, "pairs need items"),
        ({"pairs.csv": "a,b\n1,2\n"}, "two columns of ids"),
    ],
)
def test_what_makes_no_source_is_refused(tmp_path: Path, content: dict[str, str], message: str) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    with pytest.raises(InputError, match=message):
        _guess(*(tmp_path / name for name in content))


@pytest.mark.parametrize(
    ("change", "missing", "line"),
    [
        (("user_session", "zork"), "to be session", '# session = "zork"   # TO DO: one of "zork", "zork2"'),
        (("productId", "zork"), "to be item", '# item = "zork"   # TO DO'),
        (("view", "17"), "'17' .300.*view = .* and purchase = ", '# purchase = ["..."]   # TO DO'),
    ],
)
def test_what_nobody_can_guess_is_told_and_the_rest_of_the_guess_stays(
    tmp_path: Path, shop: tuple[Path, Path], change: tuple[str, str], missing: str, line: str
) -> None:
    events = EVENTS.replace(*change).replace("Order Completed", "18").replace(",user_id", ",zork2")
    shop[1].write_text(events.replace("A-", "other-"), encoding="utf-8")

    decided = _guess(*shop)

    assert re.search(missing, " ".join(decided.gaps))
    text = recipe_text(decided)
    assert line in text
    assert 'title = "Product Name"' in text
    assert _recipe(tmp_path, decided).source.kind == "events"


@pytest.mark.parametrize(
    "name", ["article_no", "Artikel-Nr.", "ArticleNo", "Item No.", "product_nr", "SKU code", "barcode", "zork"]
)
def test_ids_are_found_by_any_usual_name_and_by_content(tmp_path: Path, shop: tuple[Path, Path], name: str) -> None:
    for path, text, ours in zip(shop, (ITEMS, EVENTS), ("SKU", "productId"), strict=True):
        path.write_text(text.replace(ours, name, 1), encoding="utf-8")
    decided = _guess(*shop)
    assert (decided.columns["item_id"], decided.columns["item"], decided.gaps) == (name, name, [])


@pytest.mark.parametrize(
    ("moment", "doubt"), [("soon", r'"Event Time" are no times that are read .seen: .soon'), ("", "cells are empty")]
)
def test_times_that_nobody_can_read_are_a_warning(
    tmp_path: Path, shop: tuple[Path, Path], moment: str, doubt: str
) -> None:
    shop[1].write_text(re.sub(r"2026-\S+ [\d:]+", moment, EVENTS), encoding="utf-8")
    decided = _guess(*shop)
    assert re.search(doubt, " ".join(decided.warnings))
    counts = prepare(Workspace(tmp_path / "space"), _recipe(tmp_path, decided), recipe_directory=tmp_path)
    assert any("time" in warning.lower() and (moment or "empty") in warning for warning in counts["warnings"])


def test_returns_are_told_by_the_pieces_below_zero(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    rows = "".join(f"o{row // 2},A-{1 + row % 9},{-1 if row % 10 == 0 else 2},{row / 7:.4f}\n" for row in range(100))
    shop[1].write_text("order_no,article_no,Stk,lat\n" + rows, encoding="utf-8")
    decided = _guess(*shop)
    assert decided.columns["quantity"] == "Stk"
    counts = prepare(Workspace(tmp_path / "space"), _recipe(tmp_path, decided), recipe_directory=tmp_path)
    assert counts["events_cancelled"] == 10


def test_ids_that_differ_in_case_meet(tmp_path: Path, shop: tuple[Path, Path]) -> None:
    shop[1].write_text(EVENTS.replace("A-", "a-"), encoding="utf-8")
    decided = _guess(*shop)
    assert any("upper and lower case" in note and 'match_ids = "case"' in note for note in decided.notes)
    counts = prepare(Workspace(tmp_path / "space"), _recipe(tmp_path, decided), recipe_directory=tmp_path)
    assert (counts["ids"]["both"], counts["ids_matched"]) == (39, 39)


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data in this folder"):
        _guess(tmp_path)


def test_stdin_is_copied_under_the_ending_of_its_content(tmp_path: Path) -> None:
    (source,) = find_sources(["-"], io.BytesIO(b'{"a": 1}\n'), tmp_path / "kept")

    assert source.files == (tmp_path / "kept" / "stdin.jsonl",)
    assert source.files[0].read_bytes() == b'{"a": 1}\n'


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("View_Item", "view"),
        ("PRODUCT_VIEW", "view"),
        ("productViewed", "view"),
        ("pv", "view"),
        ("transaction", "purchase"),
        ("Order Completed", "purchase"),
        ("view_item_list", None),
        ("view_cart", None),
        ("add_to_cart", None),
        ("begin_checkout", None),
        ("purchase_cancelled", None),
        ("review", None),
    ],
)
def test_words_for_types(word: str, kind: str | None) -> None:
    assert type_of(word) == kind
