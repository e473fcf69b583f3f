from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsc_cli.files.id_column import read_ids
from mmsc_cli.files.item_fields import (
    MAX_TITLE,
    clean_text,
    commas_part_paths,
    guess_category_separator,
    read_category,
    read_id,
    read_image_url,
    read_text,
    spellings,
)
from mmsc_cli.files.prices import read_price
from mmsc_cli.prepare.sources.amazon_record import clean_category


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Salt &amp; Pepper", "Salt & Pepper"),
        ("Salt &amp;amp; Pepper", "Salt & Pepper"),
        ("<p>A <b>warm</b> hat</p>", "A warm hat"),
        ('<span class="a-size-medium">Warm hat</span>', "Warm hat"),
        ('Warm hat <span class="a-si', "Warm hat"),
        ("&lt;b&gt;Warm&lt;/b&gt; hat", "Warm hat"),
        ("  two\n\t lines \x00", "two lines"),
        ("half a pair \ud83d", "half a pair"),
        (["one", 2, "three"], "one three"),
        ("var aPageStart = (new Date()).getTime();", ""),
        ("<script>alert(1)</script>", ""),
        ("&lt;script&gt;alert(1)", ""),
        (".a-box { color: red }", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_text_is_freed_of_markup_and_page_debris(raw: Any, clean: str) -> None:
    assert clean_text(raw) == clean


@pytest.mark.parametrize("text", ["Multi function (3 in 1) printer", "sizes <3 and >5", "I <3 tea", "A {B} C"])
def test_ordinary_text_that_looks_like_code_stays(text: str) -> None:
    assert clean_text(text) == text


def test_text_is_cut_at_its_limit() -> None:
    assert len(clean_text("x" * 2_000, MAX_TITLE)) == MAX_TITLE


@given(st.text(alphabet=st.characters(codec=None), max_size=60) | st.text(alphabet="<>&;abc= \ud800", max_size=40))
@settings(max_examples=200)
def test_cleaned_text_can_be_stored(text: str) -> None:
    clean = clean_text(text)
    clean.encode()
    assert clean == clean.strip()
    assert "\n" not in clean


@pytest.mark.parametrize(
    ("raw", "price"),
    [
        ("$1,299.99", 1299.99),
        ("$5.00 - $9.00", 5.0),
        ("$1,299 - $2,000.50", 1299.0),
        ("$.99", 0.99),
        ("12,50 EUR", 12.5),
        ("1.299,99 €", 1299.99),
        ("1,299,000", 1299000.0),
        ("1.299", 1.299),
        ("1e3", 1000.0),
        (7, 7.0),
        (Decimal("3.50"), 3.5),
    ],
)
def test_prices_are_read(raw: Any, price: float) -> None:
    assert read_price(raw) == price


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "call us",
        "nan",
        "inf",
        "-5.00",
        "0",
        0,
        -3,
        math.nan,
        math.inf,
        10**400,
        True,
        None,
        [],
        "." * 30 + "9" * 40,
    ],
)
def test_what_is_no_price_is_unknown(raw: Any) -> None:
    assert math.isnan(read_price(raw))


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ([["Beauty"], ["Beauty", "Hair", "Combs"]], ["Beauty", "Hair", "Combs"]),
        (["Beauty", "Hair &amp; Skin"], ["Beauty", "Hair & Skin"]),
        (["Toys", "Games", "Ages 3 and up.", "Dice"], ["Toys", "Games"]),
        (["Toys", "made of one piece of wood that is painted by hand", "Dice"], ["Toys"]),
        (["Toys", "x" * 61], ["Toys"]),
        (["Toys", "", "Dice"], ["Toys", "Dice"]),
        ([[]], []),
        ([["Toys"], 3], ["Toys"]),
        ([3, ["Toys"]], ["Toys"]),
        ("Toys", []),
        (None, []),
    ],
)
def test_category_is_the_longest_path_up_to_feature_text(raw: Any, path: list[str]) -> None:
    assert clean_category(raw) == path


@pytest.mark.parametrize(
    ("value", "item_id"),
    [
        (" A1 ", "A1"),
        ("A2\t", "A2"),
        ("A3\u00a0", "A3"),
        (101.0, "101"),
        (7, "7"),
        (b"A1", "A1"),
        ('="00123"', "00123"),
        ("CAFE\u0301", "CAFÉ"),
        ("00123", "00123"),
        ("1e5", "1e5"),
        ("NA", "NA"),
        ("NULL", ""),
        ("nan", ""),
        (r"\N", ""),
        (None, ""),
        (math.nan, ""),
    ],
)
def test_ids_are_read_alike_everywhere(value: Any, item_id: str) -> None:
    assert read_id(value) == item_id


def test_a_column_of_whole_numbers_as_floats_holds_whole_numbers() -> None:
    counts: Counter[str] = Counter()
    assert read_ids(["101.0", "", "102.0"], counts) == ["101", "", "102"]
    assert counts == {"ids_mended": 2}
    assert read_ids(["1.0", "A"]) == ["1.0", "A"], "versions of things that are no numbers stay"
    assert read_ids(["NA", "NA", "A"], unique=True) == ["", "", "A"]
    assert read_ids(["NA", "A"], unique=True) == ["NA", "A"]


def test_an_id_is_looked_up_as_typed_first() -> None:
    assert list(spellings("101.0")) == ["101.0", "101"]
    assert list(spellings(" 101.0 ")) == [" 101.0 "]
    assert list(spellings('"A ""B"""')) == ['"A ""B"""', 'A "B"']
    assert list(spellings('="00123"')) == ['="00123"', "00123", "00123"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["Cast iron.", "For all stoves."], "Cast iron.\n\nFor all stoves."),
        (np.array(["Cast iron.", "For all stoves."]), "Cast iron.\n\nFor all stoves."),
        ("['Cast iron.', 'For all stoves.']", "Cast iron.\n\nFor all stoves."),
        ('["Cast iron."]', "Cast iron."),
        ({"name": "Nordo"}, "Nordo"),
        ({"value": "Nordo", "lang": "de"}, "Nordo"),
        ("Töpfchen".encode(), "Töpfchen"),
        (1984, "1984"),
        ("[rare] book", "[rare] book"),
        (["A", "NULL"], "A"),
        ([], ""),
    ],
)
def test_the_text_of_a_cell(value: Any, text: str) -> None:
    assert read_text(value, 1_000, name="descriptions", counts=Counter(), joint="\n\n") == text


def test_an_object_without_an_obvious_text_is_counted() -> None:
    counts: Counter[str] = Counter()
    assert read_text({"x": 1, "y": 2}, 100, name="brands", counts=counts) == ""
    assert counts == {"brands_unreadable": 1}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("Home &gt; Kitchen", ["Home", "Kitchen"]),
        ("Toys &amp;gt; Games &amp;gt; Salt &amp;amp; pepper", ["Toys", "Games", "Salt & pepper"]),
        ("Home » Kitchen » Mugs", ["Home", "Kitchen", "Mugs"]),
        ("Clothing, Clothing > Hoodies", ["Clothing", "Hoodies"]),
        ("A > B | C > D > E", ["C", "D", "E"]),
        ("Food, Beverages & Tobacco > Snacks", ["Food, Beverages & Tobacco", "Snacks"]),
        ("Handys & Zub.", ["Handys & Zub."]),
        ("Audio/Video > TV", ["Audio/Video", "TV"]),
        (
            "a name of more than eight words is still one name > B",
            ["a name of more than eight words is still one name", "B"],
        ),
        ("['Toys', 'Games']", ["Toys", "Games"]),
        ([["Toys"], ["Toys", "Games"]], ["Toys", "Games"]),
        (["Home > Kitchen", "Sale"], ["Home", "Kitchen"]),
        (None, []),
    ],
)
def test_the_deepest_path_of_a_cell(value: Any, path: list[str]) -> None:
    assert read_category(value, Counter()) == path


def test_separators_of_categories_by_setting_and_by_guess() -> None:
    assert read_category("Gear|Bags", Counter(), separator="|") == ["Gear", "Bags"]
    assert read_category("Perfume\\, Cologne, Body > Soap", Counter(), commas=True) == ["Body", "Soap"]
    assert guess_category_separator(["Gear/Bags", "Gear/Watches", None]) == "/"
    assert guess_category_separator(["Gear|Bags", "Home|Mugs"]) == "|"
    assert guess_category_separator(["Gear/Bags", "Home"]) is None, "not every path uses it"
    assert guess_category_separator(["Audio/Video > TV", "A/B"]) is None
    assert commas_part_paths(["Perfume\\, Cologne"])


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("//host.example/a.jpg", "https://host.example/a.jpg"),
        ("https://h.example/a.jpg?v=1&amp;w=2", "https://h.example/a.jpg?v=1&w=2"),
        ("https://h.example/a.jpg, https://h.example/b.jpg", "https://h.example/a.jpg"),
        ("https://h.example/a.jpg|https://h.example/b.jpg", "https://h.example/a.jpg"),
        ('["https://h.example/a.jpg"]', "https://h.example/a.jpg"),
        (["https://h.example/a.jpg", "https://h.example/b.jpg"], "https://h.example/a.jpg"),
        ("https://h.example/a,b.jpg", "https://h.example/a,b.jpg"),
        ({"src": "https://h.example/a.jpg"}, "https://h.example/a.jpg"),
        ("N/A", None),
        (None, None),
    ],
)
def test_the_first_address_of_a_cell(value: Any, url: str | None) -> None:
    assert read_image_url(value) == url
