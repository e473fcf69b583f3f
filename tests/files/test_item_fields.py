from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsc_cli.files.item_fields import MAX_TITLE, clean_text
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
