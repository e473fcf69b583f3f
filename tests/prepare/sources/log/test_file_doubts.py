"""A file of a log that lost its events, its types or its ids is named in a warning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.workspace.workspace import Workspace

HEADER = "session,item,type\n"
Warnings = Callable[..., list[str]]


def _day(day: int) -> str:
    return HEADER + "".join(f"s{day}-{number},{item},view\n" for number in range(4) for item in ("sku-1", "sku-2"))


@pytest.fixture
def warnings(tmp_path: Path) -> Warnings:
    """Prepare the files of a log beside two good days, and return the warnings that name one of them."""

    def run(files: Mapping[str, str], items: str | None = None) -> list[str]:
        log = tmp_path / "log"
        for name, text in {"a-1.csv": _day(1), "a-2.csv": _day(2), **files}.items():
            (log / name).parent.mkdir(parents=True, exist_ok=True)
            (log / name).write_text(text)
        source: dict[str, Any] = {"kind": "events", "events": "log/**/*.csv"}
        if items is not None:
            (tmp_path / "items.csv").write_text(items)
            source["items"] = "items.csv"
        recipe = Recipe.model_validate({"name": "shop", "source": source})
        workspace = Workspace(tmp_path / "space")
        prepare(workspace, recipe, recipe_directory=tmp_path)
        kept: list[str] = workspace.manifest().stages["prepare"].counts["warnings"]
        return [text for text in kept if ".csv" in text]

    return run


def test_files_without_events_are_named(warnings: Warnings) -> None:
    (warning,) = warnings({"b.csv": HEADER})
    assert warning == "b.csv holds no event: if the shop had some in that time, they are lost"
    (warning,) = warnings({"b.csv": "", **{f"c-{number}.csv": HEADER for number in range(4)}})
    assert warning.startswith("b.csv, c-0.csv, c-1.csv and 2 other files hold no event")


def test_files_of_equal_content_hold_events(warnings: Warnings) -> None:
    assert not warnings({"a-3.csv": _day(1), "x/a-1.csv": _day(1)})


def test_a_file_of_unknown_types_is_named_with_its_words(warnings: Warnings) -> None:
    (warning,) = warnings({"b.csv": _day(3).replace("view", "seen")})
    assert warning.startswith("b.csv holds no event of a type that is known (seen: 'seen' 8): name the types")


@pytest.mark.parametrize("items", [None, "item_id,title\nsku-1,lamp\nsku-2,shade\n"])
def test_a_file_whose_ids_are_written_otherwise_is_named_with_what_would_make_them_meet(
    warnings: Warnings, items: str | None
) -> None:
    (warning,) = warnings({"b.csv": _day(3).replace("sku", "SKU")}, items)
    where = "the other files lack" if items is None else "the catalogue lacks"
    assert warning.startswith(f"b.csv: 8 of 8 events are of items that {where} (such as 'SKU-1', 'SKU-2')")
    assert "they would meet if upper and lower case are ignored: write" in warning
    assert ('match_ids = "case"' in warning) == (items is not None)


def test_a_folder_of_another_type_is_meant(tmp_path: Path) -> None:
    for word in ("view", "cart"):
        (tmp_path / "log" / f"type={word}").mkdir(parents=True)
        (tmp_path / "log" / f"type={word}" / "1.csv").write_text(_day(1).replace(",type", "").replace(",view", ""))
    recipe = Recipe.model_validate({"name": "shop", "source": {"kind": "events", "events": "log"}})
    counts = prepare(Workspace(tmp_path / "space"), recipe, recipe_directory=tmp_path)
    assert not any(".csv" in text for text in counts["warnings"])
    assert counts["events_of_other_type"] == 8


def test_a_few_new_items_are_no_doubt(warnings: Warnings) -> None:
    assert not warnings({"b.csv": f"{HEADER}x,new,view\nx,newer,view\n"})
