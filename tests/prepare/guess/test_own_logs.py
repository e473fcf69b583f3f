"""Logs of several layouts: which columns and which meaning each of them gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsc_cli.prepare.guess.arguments import find_sources
from mmsc_cli.prepare.guess.guess import Guess, guess
from mmsc_cli.prepare.guess.recipe_text import recipe_text
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.workspace.workspace import Workspace

ITEMS = "article,name,price\n" + "".join(f"A{row},Lamp {row},{row + 1}\n" for row in range(20))


def _file(path: Path, header: str, *more: str) -> Path:
    """Write a log of sixty rows: session, item, time, and some cells more."""
    path.parent.mkdir(exist_ok=True)
    rows = (
        ",".join((f"{row // 3}", f"A{(row // 3 * 2 + row) % 20}", f"2026-05-{1 + row // 3:02} 10:00", *more))
        for row in range(60)
    )
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def _guess(tmp_path: Path, *paths: Path) -> Guess:
    items = tmp_path / "products.csv"
    items.write_text(ITEMS, encoding="utf-8")
    return guess(find_sources([str(path) for path in (items, *paths)]))


def _prepared(tmp_path: Path, decided: Guess) -> tuple[int, int, int]:
    """The events, co-view pairs and co-purchase pairs that the guessed recipe makes of the files."""
    path = tmp_path / "guessed.toml"
    path.write_text(recipe_text(decided), encoding="utf-8")
    counts = prepare(Workspace(tmp_path / "space"), load_recipe(str(path)), recipe_directory=tmp_path)
    return counts["events"], counts["co_view_pairs"], counts["co_purchase_pairs"]


def test_visits_and_orders_with_columns_of_their_own(tmp_path: Path) -> None:
    visits = _file(tmp_path / "visits.csv", "visit,article,at")
    orders = _file(tmp_path / "orders.csv", "order_no,article,at,qty", "1")
    decided = _guess(tmp_path, visits, orders)
    said = list(decided.decisions())
    assert "  view ← visits.csv (all rows)" in said
    assert "  purchase ← orders.csv (all rows)" in said
    alone = [_prepared(tmp_path, _guess(tmp_path, path)) for path in (visits, orders)]
    assert (alone[0][2], alone[1][1]) == (0, 0)
    assert alone[0][1] > 0 < alone[1][2]
    assert _prepared(tmp_path, decided) == (120, alone[0][1], alone[1][2])


@pytest.mark.parametrize(
    ("name", "header", "rows"),
    [
        ("log.csv", "session_id,article,at", "view"),
        ("Aufrufe-2026.csv", "Kundennummer,article,at", "view"),
        ("log.csv", "Kundennummer,article,at", "purchase"),
        ("visits.csv", "visit,article,at,qty", "purchase"),
        ("visits.csv", "visit,article,at,order_no", "purchase"),
        ("Bestellungen.csv", "session_id,article,at", "purchase"),
        ("visitors.csv", "visitor_id,article,at", "purchase"),
    ],
)
def test_what_the_rows_of_a_log_without_types_are(tmp_path: Path, name: str, header: str, rows: str) -> None:
    decided = _guess(tmp_path, _file(tmp_path / name, header, *["1"] * (header.count(",") - 2)))
    assert decided.tables["events"][0].rows == rows
    assert decided.all_purchases is (rows == "purchase")


def test_daily_files_of_one_header_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("clicks", "sales")]
    for folder in folders:
        for day in (1, 2):
            _file(folder / f"{day}.csv", "customer,article,at")
    decided = _guess(tmp_path, *folders)
    assert [(log.files, log.table.rows) for log in decided.logs] == [(["clicks/*"], "view"), (["sales/*"], "purchase")]
    events, views, purchases = _prepared(tmp_path, decided)
    assert events == 240
    assert views == purchases > 0


@pytest.mark.parametrize("column", ["what", "event"])
def test_one_word_a_file_is_a_type_by_the_words_of_all(tmp_path: Path, column: str) -> None:
    header = f"visit,article,at,{column}"
    views = _file(tmp_path / "a.csv", header, "view")
    purchases = _file(tmp_path / "b.csv", header, "purchase")
    decided = _guess(tmp_path, views, purchases)
    assert decided.columns["type"] == column
    assert decided.words == {"purchase": 60, "view": 60}
    assert decided.logs == []
    alone = _guess(tmp_path, purchases)
    assert (alone.columns["type"], alone.types) == (column, {"purchase": ["purchase"]})


def test_a_badge_of_some_items_is_no_type(tmp_path: Path) -> None:
    path = _file(tmp_path / "orders.csv", "order_no,article,at,badge", "")
    path.write_text(path.read_text().replace("10:00,\n", "10:00,Sale\n", 5), encoding="utf-8")
    assert "type" not in _guess(tmp_path, path).columns


def test_a_log_with_types_beside_orders_of_other_columns(tmp_path: Path) -> None:
    log = _file(tmp_path / "log.csv", "sid,sku,at,event", "view")
    log.write_text(log.read_text().replace("sid", "session").replace("view", "purchase", 9), encoding="utf-8")
    orders = _file(tmp_path / "orders.csv", "order_no,article,at")
    decided = _guess(tmp_path, log, orders)
    assert decided.types == {"view": ["view"]}
    assert decided.words == {"view": 51, "purchase": 9}
    assert [each.table.rows for each in decided.logs] == [None, "purchase"]
    assert _prepared(tmp_path, decided)[0] == 120


def test_visits_that_have_a_column_of_unknown_words_are_a_warning(tmp_path: Path) -> None:
    visits = _file(tmp_path / "visits.csv", "visit,article,at,step", "landing")
    visits.write_text(visits.read_text().replace("landing", "paid_up", 9), encoding="utf-8")
    path = tmp_path / "guessed.toml"
    path.write_text(recipe_text(_guess(tmp_path, visits)), encoding="utf-8")
    counts = prepare(Workspace(tmp_path / "space"), load_recipe(str(path)), recipe_directory=tmp_path)
    assert any('type = "step" under [source.logs.columns] in place of rows' in text for text in counts["warnings"])


def test_visits_beside_a_known_export_of_orders(tmp_path: Path) -> None:
    visits = _file(tmp_path / "visits.csv", "visit,article,at")
    orders = _file(tmp_path / "shopify.csv", "Name,Lineitem sku,Created at,Lineitem quantity", "1")
    decided = _guess(tmp_path, orders, visits)
    said = "\n".join(decided.decisions())
    assert "  purchase ← shopify.csv (all rows)\n  view ← visits.csv (all rows)" in said
    assert '  item ← "Lineitem sku"' in said
    events, views, purchases = _prepared(tmp_path, decided)
    assert (events, views) == (120, purchases)
