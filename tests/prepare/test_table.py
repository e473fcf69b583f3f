from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.catalogue import CATALOGUE_SCHEMA, Catalogue
from mmsc_cli.prepare.table import read_tables
from mmsc_cli.recipe.settings import TableSource

ITEMS = "item_id,title,price\n00123,Hat,12.5\n7,Scarf,\nC3,Glove,1\n"
PAIRS = "a,b,co_view,co_purchase\n00123,7,2,\n7,C3,,0.5\n"


def _read(folder: Path, items: str = ITEMS, pairs: str = PAIRS, columns: dict[str, str] | None = None) -> Catalogue:
    (folder / "items.csv").write_text(items, encoding="utf-8")
    (folder / "pairs.csv").write_text(pairs, encoding="utf-8")
    source = TableSource.model_validate(
        {"kind": "table", "items": "items.csv", "pairs": "pairs.csv", "columns": columns or {}}
    )
    return read_tables(folder / "items.csv", folder / "pairs.csv", source)


def _edges(catalogue: Catalogue, kind: str) -> dict[tuple[str, str], float]:
    ids = catalogue.items["item_id"].to_pylist()
    edges = getattr(catalogue, kind)
    return {
        (ids[source], ids[target]): float(strength)
        for source, target, strength in zip(edges.source, edges.target, edges.strength, strict=True)
    }


def test_two_tables_become_a_catalogue(tmp_path: Path) -> None:
    catalogue = _read(tmp_path)
    assert catalogue.items.schema.equals(CATALOGUE_SCHEMA)
    assert catalogue.items["item_id"].to_pylist() == ["00123", "7", "C3"]
    assert catalogue.items["title"].to_pylist() == ["Hat", "Scarf", "Glove"]
    prices = catalogue.items["price"].to_pylist()
    assert prices[::2] == [12.5, 1.0]
    assert math.isnan(prices[1])
    assert _edges(catalogue, "views") == {("00123", "7"): 2.0}
    assert _edges(catalogue, "purchases") == {("7", "C3"): 0.5}


def test_only_co_view_is_enough(tmp_path: Path) -> None:
    catalogue = _read(tmp_path, pairs="a,b,co_view\n00123,7,1\n")
    assert len(catalogue.views.source) == 1
    assert len(catalogue.purchases.source) == 0


def test_neither_behaviour_column_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pairs\.csv: no column co_view or co_purchase"):
        _read(tmp_path, pairs="a,b\n00123,7\n")


def test_every_row_is_kept_or_counted_as_lost(tmp_path: Path) -> None:
    items = "item_id,title\nA,first\nA ,second\n,nobody\n  ,nobody\nB,\n"
    pairs = "a,b,co_view\nA,B,1\nB,A,0\nA,A,1\nA,GONE,1\n,B,1\n"
    counts = _read(tmp_path, items, pairs).counts
    assert counts == {
        "records": 5,
        "without_id": 2,
        "repeated": 1,
        "items": 2,
        "relations": 5,
        "relations_outside": 2,
        "relations_to_itself": 1,
        "relations_without_strength": 1,
        "relations_kept": 1,
        "without_title": 1,
    }


def test_of_rows_with_one_id_the_first_stays(tmp_path: Path) -> None:
    catalogue = _read(tmp_path, items="item_id,title\n7,first\n7 ,second\n00123,x\n")
    assert catalogue.items["title"].to_pylist() == ["first", "x"]


@pytest.mark.parametrize("strength", ["many", "-1", "inf", "1,5"])
def test_a_bad_strength_is_named_by_row_and_column(tmp_path: Path, strength: str) -> None:
    with pytest.raises(InputError, match=rf"pairs\.csv: row 2, column co_view: '{strength}' is not a strength"):
        _read(tmp_path, pairs=f'a;b;co_view\n00123;7;1\n7;C3;"{strength}"\n')


def test_columns_are_mapped_for_each_file(tmp_path: Path) -> None:
    columns = {"item_id": "sku", "title": "brand", "brand": "title", "a": "left", "b": "right", "co_view": "views"}
    catalogue = _read(tmp_path, "sku,title,brand\nA,Woolly,Hat\nB,,\n", "left,right,views\nA,B,1\n", columns)
    assert catalogue.items["title"].to_pylist()[0] == "Hat"
    assert catalogue.items["brand"].to_pylist()[0] == "Woolly"
    assert _edges(catalogue, "views") == {("A", "B"): 1.0}


def test_a_mapped_column_wins_over_one_of_our_name(tmp_path: Path) -> None:
    catalogue = _read(tmp_path, "item_id,sku\n1,00123\n2,7\n", "a,b,co_view\n00123,7,1\n", {"item_id": "sku"})
    assert catalogue.items["item_id"].to_pylist() == ["00123", "7"]


@pytest.mark.parametrize(
    ("items", "columns", "name"),
    [("sku,title\n1,x\n", {}, "item_id"), ("item_id,title\n1,x\n", {"title": "name"}, "name")],
)
def test_a_column_that_is_not_there_is_named(tmp_path: Path, items: str, columns: dict[str, str], name: str) -> None:
    with pytest.raises(InputError, match=rf"items\.csv: no column '{name}' among \['") as caught:
        _read(tmp_path, items, columns=columns)
    assert "[source.columns]" in str(caught.value.hint)


def _read_frames(folder: Path, items: pd.DataFrame, pairs: pd.DataFrame, kind: str) -> Catalogue:
    paths = [folder / f"{name}.{kind}" for name in ("items", "pairs")]
    for path, frame in zip(paths, (items, pairs), strict=True):
        if kind == "parquet":
            frame.to_parquet(path, index=False)
        else:
            frame.to_json(path, orient="records", lines=True)
    return read_tables(paths[0], paths[1], TableSource(kind="table", items="", pairs=""))


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "jsonl.gz"])
def test_ids_keep_their_leading_zeros(tmp_path: Path, kind: str) -> None:
    items = pd.DataFrame({"item_id": ["00123", "007"]})
    pairs = pd.DataFrame({"a": ["00123"], "b": ["007"], "co_view": [1.5]})
    catalogue = _read_frames(tmp_path, items, pairs, kind)
    assert catalogue.items["item_id"].to_pylist() == ["00123", "007"]
    assert _edges(catalogue, "views") == {("00123", "007"): 1.5}


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_whole_numbers_are_ids_even_where_some_are_missing(tmp_path: Path, kind: str) -> None:
    items = pd.DataFrame({"item_id": pd.array([12, None, 7, 2**60 + 1], dtype="Int64")})
    pairs = pd.DataFrame({"a": [12.0, float("nan")], "b": [7.0, 12.0], "co_purchase": [1, 1]})
    catalogue = _read_frames(tmp_path, items, pairs, kind)
    assert catalogue.items["item_id"].to_pylist() == ["12", "7", str(2**60 + 1)]
    assert catalogue.counts["without_id"] == 1
    assert catalogue.counts["relations_outside"] == 1
    assert _edges(catalogue, "purchases") == {("12", "7"): 1.0}


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_category_is_a_list_or_a_path(tmp_path: Path, kind: str) -> None:
    pairs = pd.DataFrame({"a": ["A"], "b": ["B"], "co_view": [1]})
    for category in ([["Toys", "Games"], []], ["Toys > Games", None]):
        items = pd.DataFrame({"item_id": ["A", "B"], "category": category})
        catalogue = _read_frames(tmp_path, items, pairs, kind)
        assert catalogue.items["category"].to_pylist() == [["Toys", "Games"], []]


def test_typed_columns_are_taken_as_text_and_numbers(tmp_path: Path) -> None:
    items: dict[str, Any] = {
        "item_id": ["A", "B"],
        "title": pd.array([1984, None], dtype="Int64"),
        "price": [Decimal("9.90"), None],
        "image_url": ["https://x.example/a.jpg", None],
    }
    pairs = pd.DataFrame({"a": ["A"], "b": ["B"], "co_view": [1]})
    table = _read_frames(tmp_path, pd.DataFrame(items), pairs, "parquet").items
    assert table["title"].to_pylist() == ["1984", ""]
    assert table["price"].to_pylist()[0] == pytest.approx(9.9)
    assert table["image_url"].to_pylist() == ["https://x.example/a.jpg", None]


def test_a_lone_surrogate_in_json_does_no_harm(tmp_path: Path) -> None:
    items, pairs = tmp_path / "items.jsonl", tmp_path / "pairs.jsonl"
    items.write_text('{"item_id": "A\\ud83d", "title": "x\\ud83d"}\n{"item_id": "B"}\n')
    pairs.write_text('{"a": "A\\ud83d", "b": "B", "co_view": 1}\n')
    catalogue = read_tables(items, pairs, TableSource(kind="table", items="", pairs=""))
    assert catalogue.items["item_id"].to_pylist() == ["A?", "B"]
    assert _edges(catalogue, "views") == {("A?", "B"): 1.0}
