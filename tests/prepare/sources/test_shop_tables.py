from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.counts import balance
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.settings import TableSource
from mmsc_cli.prepare.sources.shop_tables import read_tables
from mmsc_cli.tables.items import ITEM_SCHEMA

ITEMS = "item_id,title,price\n00123,Hat,12.5\n7,Scarf,\nC3,Glove,1\n"
PAIRS = "a,b,co_view,co_purchase\n00123,7,2,\n7,C3,,0.5\n"


Read = Callable[..., Any]


@pytest.fixture
def read(tmp_path: Path, delivery: Delivery, assembled: Any) -> Read:
    """Read and assemble two CSV files."""

    def run(items: str = ITEMS, pairs: str = PAIRS, columns: dict[str, str] | None = None) -> Any:
        (tmp_path / "items.csv").write_text(items, encoding="utf-8")
        (tmp_path / "pairs.csv").write_text(pairs, encoding="utf-8")
        source = TableSource.model_validate(
            {"kind": "table", "items": "items.csv", "pairs": "pairs.csv", "columns": columns or {}}
        )
        read_tables([tmp_path / "items.csv"], [tmp_path / "pairs.csv"], source, delivery)
        return assembled(delivery)

    return run


def test_two_tables_become_a_catalogue(read: Read) -> None:
    catalogue = read()
    assert catalogue.items.schema.equals(ITEM_SCHEMA)
    assert catalogue.items["item_id"].to_pylist() == ["00123", "7", "C3"]
    assert catalogue.items["title"].to_pylist() == ["Hat", "Scarf", "Glove"]
    prices = catalogue.items["price"].to_pylist()
    assert prices[::2] == [12.5, 1.0]
    assert math.isnan(prices[1])
    assert catalogue.edges("view") == {("00123", "7"): 2.0}
    assert catalogue.edges("buy") == {("7", "C3"): 0.5}


def test_only_co_view_is_enough(read: Read) -> None:
    catalogue = read(pairs="a,b,co_view\n00123,7,1\n")
    assert len(catalogue.edges("view")) == 1
    assert not catalogue.edges("buy")


def test_neither_behaviour_column_is_an_error(read: Read) -> None:
    with pytest.raises(InputError, match=r"pairs\.csv: no column co_view or co_purchase"):
        read(pairs="a,b\n00123,7\n")


def test_every_row_is_kept_or_counted_as_lost(read: Read) -> None:
    items = "item_id,title\nA,first\nA ,second\n,nobody\n  ,nobody\nB,\n"
    pairs = "a,b,co_view\nA,B,1\nB,A,0\nA,A,1\nA,GONE,1\n,B,1\n"
    counts = balance(read(items, pairs + "A,B,3\n").counts | {"repeated": 1})
    expected = {
        "records": 5,
        "without_id": 2,
        "items": 2,
        "relations": 6,
        "relations_outside": 2,
        "relations_to_itself": 1,
        "relations_without_strength": 1,
        "relations_repeated": 1,
        "relations_kept": 1,
        "without_title": 1,
    }
    assert {name: counts[name] for name in expected} == expected


def test_of_a_repeated_pair_the_greatest_strength_stays(read: Read) -> None:
    catalogue = read(pairs="a,b,co_view,co_purchase\n7,C3,2,\n7,C3,5,1\nC3,7,3,\n")
    assert catalogue.edges("view") == {("7", "C3"): 5.0, ("C3", "7"): 3.0}
    assert catalogue.edges("buy") == {("7", "C3"): 1.0}


def test_of_rows_with_one_id_the_richest_stays(read: Read) -> None:
    catalogue = read(items="item_id,title,brand\n7,poor,\n7 ,rich,Woolly\n00123,x,\n")
    assert catalogue.items["title"].to_pylist() == ["x", "rich"]


@pytest.mark.parametrize("rows", ["7,one\n7 ,two\n00123,x\n", "7 ,two\n00123,x\n7,one\n"])
def test_of_equally_rich_rows_the_same_one_stays_wherever_it_stands(read: Read, rows: str) -> None:
    catalogue = read(items=f"item_id,title\n{rows}")
    assert catalogue.items["title"].to_pylist() == ["x", "one"]


def test_your_own_table_is_cleaned_as_published_files_are(read: Read) -> None:
    items = (
        "item_id,title,price,category\n"
        '7,Salt &amp; <b>pepper</b>,"$1,299.99",Kitchen > Table\n'
        'C3,"<span class=""a"">",$5 - $9,"Toys > Games > Suitable for the whole family, from 3 to 99 years of age."\n'
        '00123,,call us,"[""Toys"", ""Games""]"\n'
    )
    catalogue = read(items)
    assert catalogue.items["title"].to_pylist() == ["", "Salt & pepper", ""]
    assert catalogue.items["price"].to_pylist()[1:] == [1299.99, 5.0]
    sentence = "Suitable for the whole family, from 3 to 99 years of age."
    categories = [["Toys", "Games"], ["Kitchen", "Table"], ["Toys", "Games", sentence]]
    assert catalogue.items["category"].to_pylist() == categories, "only Amazon's paths end in sentences"
    found = {"titles_of_page_code": 1, "texts_with_markup": 2, "price_ranges": 1, "prices_unreadable": 1}
    found |= {"empty_fields": 1}
    assert {name: catalogue.counts[name] for name in found} == found


@pytest.mark.parametrize("strength", ["many", "-1", "inf", "1,5", "1e39"])
def test_a_bad_strength_is_named_by_row_and_column(read: Read, strength: str) -> None:
    with pytest.raises(InputError, match=rf"pairs\.csv: row 2, column co_view: '{strength}' is not a strength"):
        read(pairs=f'a;b;co_view\n00123;7;1\n7;C3;"{strength}"\n')


def test_columns_are_mapped_for_each_file(read: Read) -> None:
    columns = {"item_id": "sku", "title": "brand", "brand": "title", "a": "left", "b": "right", "co_view": "views"}
    catalogue = read("sku,title,brand\nA,Woolly,Hat\nB,,\n", "left,right,views\nA,B,1\n", columns)
    assert catalogue.items["title"].to_pylist()[0] == "Hat"
    assert catalogue.items["brand"].to_pylist()[0] == "Woolly"
    assert catalogue.edges("view") == {("A", "B"): 1.0}


def test_a_mapped_column_wins_over_one_of_our_name(read: Read) -> None:
    catalogue = read("item_id,sku\n1,00123\n2,7\n", "a,b,co_view\n00123,7,1\n", {"item_id": "sku"})
    assert catalogue.items["item_id"].to_pylist() == ["00123", "7"]


@pytest.mark.parametrize(
    ("items", "columns", "name"),
    [("sku,title\n1,x\n", {}, "item_id"), ("item_id,title\n1,x\n", {"title": "name"}, "name")],
)
def test_a_column_that_is_not_there_is_named(read: Read, items: str, columns: dict[str, str], name: str) -> None:
    with pytest.raises(InputError, match=rf"items\.csv: no column '{name}' among \['") as caught:
        read(items, columns=columns)
    assert "[source.columns]" in str(caught.value.hint)


@pytest.fixture
def read_frames(tmp_path: Path, delivery: Delivery, assembled: Any) -> Read:
    """Write two frames as files of a kind, read and assemble them."""

    def run(items: pd.DataFrame, pairs: pd.DataFrame, kind: str) -> Any:
        paths = [tmp_path / f"{name}.{kind}" for name in ("items", "pairs")]
        for path, frame in zip(paths, (items, pairs), strict=True):
            if kind.startswith("parquet"):
                content = frame.to_parquet(index=False)
                path.write_bytes(gzip.compress(content) if kind.endswith(".gz") else content)
            else:
                frame.to_json(path, orient="records", lines=True)
        read_tables(paths[:1], paths[1:], TableSource(kind="table", items="", pairs=""), delivery)
        return assembled(delivery)

    return run


@pytest.mark.parametrize("kind", ["parquet", "parquet.gz", "jsonl", "jsonl.gz"])
def test_ids_keep_their_leading_zeros(read_frames: Read, kind: str) -> None:
    items = pd.DataFrame({"item_id": ["00123", "007"]})
    pairs = pd.DataFrame({"a": ["00123"], "b": ["007"], "co_view": [1.5]})
    catalogue = read_frames(items, pairs, kind)
    assert catalogue.ids == ["00123", "007"]
    assert catalogue.edges("view") == {("00123", "007"): 1.5}


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_whole_numbers_are_ids_even_where_some_are_missing(read_frames: Read, kind: str) -> None:
    items = pd.DataFrame({"item_id": pd.array([12, None, 7, 2**60 + 1], dtype="Int64")})
    pairs = pd.DataFrame({"a": [12.0, float("nan")], "b": [7.0, 12.0], "co_purchase": [1, 1]})
    catalogue = read_frames(items, pairs, kind)
    assert catalogue.items["item_id"].to_pylist() == sorted(["12", "7", str(2**60 + 1)])
    assert catalogue.counts["without_id"] == 1
    assert catalogue.counts["relations_outside"] == 1
    assert catalogue.edges("buy") == {("12", "7"): 1.0}


@pytest.mark.parametrize("category", [[["Toys", "Games"], []], ["Toys > Games", None]], ids=["lists", "paths"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_category_is_a_list_or_a_path(read_frames: Read, kind: str, category: list[Any]) -> None:
    pairs = pd.DataFrame({"a": ["A"], "b": ["B"], "co_view": [1]})
    catalogue = read_frames(pd.DataFrame({"item_id": ["A", "B"], "category": category}), pairs, kind)
    assert catalogue.items["category"].to_pylist() == [["Toys", "Games"], []]


def test_typed_columns_are_taken_as_text_and_numbers(read_frames: Read) -> None:
    items: dict[str, Any] = {
        "item_id": ["A", "B"],
        "title": pd.array([1984, None], dtype="Int64"),
        "price": [Decimal("9.90"), None],
        "image_url": ["https://x.example/a.jpg", None],
    }
    pairs = pd.DataFrame({"a": ["A"], "b": ["B"], "co_view": [1]})
    table = read_frames(pd.DataFrame(items), pairs, "parquet").items
    assert table["title"].to_pylist() == ["1984", ""]
    assert table["price"].to_pylist()[0] == pytest.approx(9.9)
    assert table["image_url"].to_pylist() == ["https://x.example/a.jpg", None]


def test_a_lone_surrogate_in_json_does_no_harm(tmp_path: Path, delivery: Delivery, assembled: Any) -> None:
    items, pairs = tmp_path / "items.jsonl", tmp_path / "pairs.jsonl"
    items.write_text('{"item_id": "A\\ud83d", "title": "x\\ud83d"}\n{"item_id": "B"}\n')
    pairs.write_text('{"a": "A\\ud83d", "b": "B", "co_view": 1}\n')
    read_tables([items], [pairs], TableSource(kind="table", items="", pairs=""), delivery)
    catalogue = assembled(delivery)
    assert catalogue.items["item_id"].to_pylist() == ["A?", "B"]
    assert catalogue.edges("view") == {("A?", "B"): 1.0}


def test_pairs_and_items_in_several_files_are_read_together(tmp_path: Path, delivery: Delivery, assembled: Any) -> None:
    for number, (items, pairs) in enumerate((("A,x\nB,x\n", "A,C,1\n"), ("C,x\n", "C,B,1\n"))):
        (tmp_path / f"items-{number}.csv").write_text(f"item_id,title\n{items}")
        (tmp_path / f"pairs-{number}.csv").write_text(f"a,b,co_view\n{pairs}")
    source = TableSource(kind="table", items="", pairs="")
    read_tables(sorted(tmp_path.glob("items-*")), sorted(tmp_path.glob("pairs-*")), source, delivery)
    assert delivery.counts["records"] == 3
    assert delivery.counts["relations"] == 2
    assert delivery.notes["ids"]["both"] == 3


def test_pairs_of_other_ids_than_the_items_are_refused_with_examples(read: Read) -> None:
    with pytest.raises(InputError, match=r"'a1', 'a2'.*'A1', 'A2'.*case"):
        read("item_id,title\nA1,x\nA2,x\n", "a,b,co_view\na1,a2,1\n")
