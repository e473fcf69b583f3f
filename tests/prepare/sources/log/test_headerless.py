"""A file without a header is read by that of the first file, or refused: never in another order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.workspace.workspace import Workspace

HEADER = "order_no,article,at,what\n"
COLUMNS = {"session": "order_no", "item": "article", "time": "at", "type": "what"}


def _rows(day: int, order: str = "oiat") -> str:
    lines = []
    for number in range(6):
        for item in ("A0110", "A0111", f"A{200 + number}"):
            cell = {"o": f"o{day}0{number}", "i": item, "a": f"2026-10-{day} 17:10:40", "t": "purchase"}
            lines.append(",".join(cell[letter] for letter in order))
    return "\n".join(lines) + "\n"


@pytest.fixture
def night(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Prepare a log of a good file and another one, with a catalogue or without, and return the counts."""

    def run(second: str, *, items: bool = False, first: str = HEADER + _rows(30)) -> dict[str, Any]:
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / "log" / "30.csv").write_text(first)
        (tmp_path / "log" / "31.csv").write_text(second)
        source: dict[str, Any] = {"kind": "events", "events": "log/*.csv", "columns": COLUMNS}
        if items:
            ids = ["A0110", "A0111", *(f"A{200 + number}" for number in range(6))]
            (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"{item},lamp\n" for item in ids))
            source["items"] = "items.csv"
        recipe = Recipe.model_validate({"name": "shop", "source": source})
        return prepare(Workspace(tmp_path / "space"), recipe, recipe_directory=tmp_path)

    return run


@pytest.mark.parametrize("items", [True, False])
@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("ioat", r"where that has 'article', it has 'o3100', 'o3101'; what belongs there is in column 1"),
        ("oait", r"where that has 'at', it has 'A0110', 'A0111'; what belongs there is in column 2"),
        ("oita", r"where that has 'at', it has 'purchase'; what belongs there is in column 4"),
        ("tiao", r"where that has 'what', it has 'o3100', 'o3101'; what belongs there is in column 1"),
    ],
)
def test_columns_in_another_order_are_refused(
    night: Callable[..., dict[str, Any]], order: str, found: str, items: bool
) -> None:
    with pytest.raises(InputError, match=rf"31\.csv: it has no header.*the order of 30\.csv: {found}") as caught:
        night(_rows(31, order), items=items)
    assert "'order_no,article,at,what'" in str(caught.value.hint)


@pytest.mark.parametrize("items", [True, False])
def test_columns_in_the_same_order_are_read(night: Callable[..., dict[str, Any]], items: bool) -> None:
    counts = night(_rows(31), items=items)
    assert counts["events_kept"] == 36
    assert not any("31.csv" in text for text in counts["warnings"])


def test_a_day_of_new_items_and_new_words_is_not_refused(night: Callable[..., dict[str, Any]]) -> None:
    counts = night(_rows(31).replace("A", "N").replace("purchase", "wish"))
    (warning,) = [text for text in counts["warnings"] if "31.csv" in text and "type" in text]
    assert warning.startswith("31.csv holds no event of a type that is known (seen: 'wish' 18)")


def test_a_header_of_other_names_is_no_event(night: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(InputError, match=r"31\.csv: its first line 'auftrag,artikel,wann,was' names no column of 30"):
        night("auftrag,artikel,wann,was\n" + _rows(31))


def test_numbers_that_may_be_orders_or_items_are_refused(night: Callable[..., dict[str, Any]]) -> None:
    rows = "".join(f"{order},{item},2026-10-30 10:00:00,purchase\n" for order in range(1, 9) for item in (1, 2, order))
    with pytest.raises(InputError, match=r"31\.csv: it has no header, and both its columns 'order_no' and 'article'"):
        night(rows, first=HEADER + rows)
