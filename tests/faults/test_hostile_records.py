"""One record that is made to harm costs that record alone, and is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources.amazon import read_amazon
from mmsc_cli.prepare.sources.item_table import read_item_table

DEEP = '{"asin": "X", "item_id": "X", "title": ' + "[" * 100_000 + "]" * 100_000 + "}"
DIGITS = '{"asin": "Y", "item_id": "Y", "title": "a lamp", "price": ' + "9" * 10_000 + "}"
LITERAL_DIGITS = "{'asin': 'Z', 'title': 'a lamp', 'price': " + "9" * 10_000 + "}"
ENTITIES = json.dumps(
    {"asin": "E", "item_id": "E", "title": "a &#" + "9" * 10_000 + "; lamp &amp;amp; " + "&x" * 9_000}
)
GOOD = [json.dumps({"asin": f"A{number}", "item_id": f"A{number}", "title": "a lamp"}) for number in range(9)]


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    (tmp_path / "delivery").mkdir()
    return Delivery(tmp_path / "delivery")


@pytest.mark.parametrize("record", [DEEP, DIGITS, LITERAL_DIGITS, "{'asin': " + "(" * 50_000 + ")" * 50_000 + "}"])
def test_metadata_loses_the_bad_record_and_counts_it(tmp_path: Path, delivery: Delivery, record: str) -> None:
    path = tmp_path / "meta.json"
    path.write_text("\n".join([*GOOD, record, *(line.replace("A", "B") for line in GOOD)]) + "\n")
    read_amazon([path], delivery, cores=1)

    assert delivery.counts["records"] == 19
    assert delivery.counts["records_unreadable"] == 1


def test_an_entity_of_thousands_of_digits_harms_no_record(tmp_path: Path, delivery: Delivery) -> None:
    path = tmp_path / "meta.json"
    path.write_text("\n".join([*GOOD, ENTITIES]) + "\n")
    read_amazon([path], delivery, cores=1)

    assert delivery.counts["records"] == 10
    assert delivery.counts["records_unreadable"] == 0


@pytest.mark.parametrize(("record", "without_id"), [(DEEP, 1), (DIGITS, 0), (ENTITIES, 0)])
def test_a_table_of_ones_own_loses_the_bad_record_and_counts_it(
    tmp_path: Path, delivery: Delivery, record: str, without_id: int
) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join([*GOOD, record]) + "\n")
    read_item_table(path, {}, delivery)

    assert delivery.counts["records"] == 10
    assert delivery.counts["without_id"] == without_id
