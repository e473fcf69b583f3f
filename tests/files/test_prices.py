"""Prices as shops of many countries write them, each with its right value."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from mmsc_cli.files.prices import decimal_mark, read_price


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("1 299,00 €", 1299.0),
        ("1\u00a0299,00", 1299.0),
        ("1\u202f299.50 kr", 1299.5),
        ("12 345 678,90", 12_345_678.9),
        ("1'299.00 CHF", 1299.0),
        ("1’299.–", 1299.0),
        ("1.299,-", 1299.0),
        ("1.234.567", 1_234_567.0),
        ("1.234.567,89", 1_234_567.89),
        ("1,29,999.00", 129_999.0),
        ("₹1,29,999", 129_999.0),
        ("Rs 1,29,999/-", 129_999.0),
        ("Rs.500", 500.0),
        ("１２９９円", 1299.0),
        ("￥１，２９９", 1299.0),
        ("٣٫٥٠", 3.5),
        ("12·50", 12.5),
        ("EUR 12.50", 12.5),
        ("USD12.5", 12.5),
        ("12.50USD", 12.5),
        ("49.99 USD", 49.99),
        ("R$ 1.234,56", 1234.56),
        ("1 234,5 Kč", 1234.5),
        ("zł 12", 12.0),
        ("20,-", 20.0),
        ("ab 12,50 €", 12.5),
        ("12.99 each", 12.99),
        ("12.50 incl. VAT", 12.5),
    ],
)
def test_grouped_digits_and_currencies(text: str, price: float) -> None:
    counts: Counter[str] = Counter()
    assert read_price(text, counts) == price
    assert not counts


@pytest.mark.parametrize("text", ["9.00 - 5.00", "5.00–9.00", "12 EUR - 5 EUR", "5,00 bis 9,00 €", "5|9", "9.00;5.00"])
def test_of_a_range_the_lower_end_counts_in_either_order(text: str) -> None:
    counts: Counter[str] = Counter()
    assert read_price(text, counts) == 5.0
    assert counts == {"price_ranges": 1}


@pytest.mark.parametrize(
    "text",
    ["1.5k", "1.5 k", "1.5 Mio", "3万", "15%", "15 %", "-5", "−5", "EUR -5.00", "2x 12.50", "20pcs", "1:299", "Free"],
)
def test_what_is_no_price_is_counted_under_its_own_name(text: str) -> None:
    counts: Counter[str] = Counter()
    assert math.isnan(read_price(text, counts))
    assert counts == {"prices_unreadable": 1}


@pytest.mark.parametrize("empty", ["", " ", None, math.nan, "N/A", "NULL", r"\N"])
def test_an_empty_cell_is_no_unreadable_price(empty: object) -> None:
    counts: Counter[str] = Counter()
    assert math.isnan(read_price(empty, counts))
    assert not counts


@pytest.mark.parametrize(
    ("column", "mark", "price"),
    [
        (["1.299", "899", "49"], ",", 1299.0),
        (["1.299", "12,50"], ",", 1299.0),
        (["1.299", "12.50"], ".", 1.299),
        (["1.299", "2.499"], ",", 1299.0),
        (["1.299", "1.299,00"], ",", 1299.0),
        (["1.299"], None, 1.299),
    ],
)
def test_a_column_decides_on_one_dot_before_three_digits(column: list[str], mark: str | None, price: float) -> None:
    assert decimal_mark(column) == mark
    assert read_price("1.299", decimal=decimal_mark(column)) == price


def test_a_clear_price_stands_against_its_column() -> None:
    assert read_price("12.50", decimal=",") == 12.5
    assert read_price("12,50", decimal=".") == 12.5
    assert read_price("1,299", decimal=".") == 1299.0
    assert read_price("1,299", decimal=",") == 1.299


def test_an_object_with_an_amount_is_a_price() -> None:
    assert read_price({"amount": "19.90", "currency": "EUR"}) == 19.9
