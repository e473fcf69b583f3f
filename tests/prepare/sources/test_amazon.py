from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.files.line_blocks import LineBlocks
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources import amazon
from mmsc_cli.prepare.sources.amazon import read_amazon

RECORD_2014 = {
    "asin": "A1",
    "title": "Hat &amp; scarf",
    "price": 12.5,
    "brand": "Woolly",
    "imUrl": "http://images.example/1.jpg",
    "related": {"also_viewed": ["B2", "C3"], "buy_after_viewing": ["C3", "D4"], "bought_together": ["D4"]},
    "categories": [["Clothes"], ["Clothes", "Hats"]],
    "description": "It's warm.",
}
RECORD_2018 = {
    "asin": "B2",
    "title": "Gloves",
    "price": "$1,299.99",
    "brand": "Woolly",
    "imageURLHighRes": ["https://images.example/2.jpg"],
    "also_view": ["A1"],
    "also_buy": ["A1", "C3"],
    "category": ["Clothes", "Gloves", "Keeps your hands warm in every weather, winter or summer."],
    "description": ["Two", "gloves"],
}
OTHERS = [{"asin": "C3"}, {"asin": "D4"}]

Write = Callable[[Sequence[Any]], Path]
Row = Callable[[Path, str], dict[str, Any]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write records (dicts as JSON, anything else as it is) into a plain file."""

    def to_file(records: Sequence[Any]) -> Path:
        lines = [json.dumps(record) if isinstance(record, dict) else record for record in records]
        path = tmp_path / "meta.json"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def row(delivery: Delivery, records: Callable[[Delivery], list[dict[str, Any]]]) -> Row:
    """The record of an item in a file."""

    def find(path: Path, item_id: str) -> dict[str, Any]:
        read_amazon([path], delivery)
        return next(record for record in records(delivery) if record["item_id"] == item_id)

    return find


@pytest.mark.parametrize("written", [json.dumps, repr], ids=["json", "dict literal"])
def test_the_2014_schema_is_read(write: Write, row: Row, written: Callable[[Any], str]) -> None:
    path = write([written(record) for record in (RECORD_2014, RECORD_2018, *OTHERS)])
    assert row(path, "A1") == {
        "item_id": "A1",
        "title": "Hat & scarf",
        "description": "It's warm.",
        "brand": "Woolly",
        "category": ["Clothes", "Hats"],
        "price": 12.5,
        "image_url": "http://images.example/1.jpg",
        "image_path": None,
    }


def test_the_2018_schema_is_told_apart_record_by_record(write: Write, row: Row) -> None:
    path = write([repr(RECORD_2014), RECORD_2018, *OTHERS])
    assert row(path, "B2") == {
        "item_id": "B2",
        "title": "Gloves",
        "description": "Two gloves",
        "brand": "Woolly",
        "category": ["Clothes", "Gloves"],
        "price": 1299.99,
        "image_url": "https://images.example/2.jpg",
        "image_path": None,
    }


def test_strength_falls_with_the_position_in_the_merged_list(write: Write, delivery: Delivery, assembled: Any) -> None:
    read_amazon([write([RECORD_2014, RECORD_2018, *OTHERS])], delivery)
    shop = assembled(delivery)
    first, second, third = (0.5 + 1 / math.log2(1 + position) for position in (1, 2, 3))
    assert shop.edges("view") == pytest.approx(
        {("A1", "B2"): first, ("A1", "C3"): second, ("A1", "D4"): third, ("B2", "A1"): first}
    )
    assert shop.edges("buy") == pytest.approx({("A1", "D4"): first, ("B2", "A1"): first, ("B2", "C3"): second})


def test_empty_and_missing_fields_are_unknown(write: Write, row: Row, delivery: Delivery) -> None:
    path = write([{"asin": "A1", "title": "", "price": "", "category": [], "also_view": ""}])
    found = row(path, "A1")
    assert math.isnan(found.pop("price"))
    assert found == {
        "item_id": "A1",
        "title": "",
        "description": "",
        "brand": "",
        "category": [],
        "image_url": None,
        "image_path": None,
    }
    assert delivery.counts["empty_fields"] == 3
    assert delivery.counts["prices_unreadable"] == 0, "an empty price is no bad price"


def test_every_mess_of_the_published_files_is_counted_by_its_kind(write: Write, delivery: Delivery) -> None:
    messy = {
        "asin": "A1",
        "title": "var aPageStart = (new Date()).getTime();",
        "brand": '<span class="a-size-medium">',
        "description": ["Salt &amp; <b>pepper</b>", "x" * 11_000],
        "price": "$5.00 - $9.00",
        "category": ["Toys", "Games", "For the whole family, with 60 cards and two dice in a tin."],
        "also_view": ["B2", "B2", 7, "A1", "GONE"],
    }
    read_amazon([write([messy, {"asin": "B2", "price": "call us"}, {"asin": "B2"}])], delivery)
    assert dict(delivery.counts) == {
        "records": 3,
        "titles_of_page_code": 1,
        "brands_of_page_code": 1,
        "texts_with_markup": 2,
        "texts_cut": 1,
        "price_ranges": 1,
        "prices_unreadable": 1,
        "categories_cut": 1,
        "relations": 5,
        "relations_repeated": 1,
        "relations_unreadable": 1,
    }


def test_of_repeated_records_the_richest_stays_with_its_own_relations(
    write: Write, delivery: Delivery, assembled: Any
) -> None:
    poor = {"asin": "A1", "title": "Poor", "also_buy": ["C3", "D4"]}
    read_amazon([write([{"asin": "A1"}, RECORD_2014, poor, *OTHERS])], delivery)
    shop = assembled(delivery)
    assert shop.ids == ["A1", "C3", "D4"]
    assert shop.items["brand"].to_pylist()[0] == "Woolly"
    assert set(shop.edges("buy")) == {("A1", "D4")}
    assert shop.counts["relations_of_repeated_records"] == 2


@pytest.mark.parametrize("titles", [("one", "two"), ("two", "one")])
def test_of_equally_rich_records_the_same_one_stays_wherever_it_stands(
    titles: tuple[str, str], write: Write, delivery: Delivery, assembled: Any
) -> None:
    twice = [{"asin": "A1", "title": title, "also_buy": ["C3"]} for title in titles]
    read_amazon([write([*twice, *OTHERS])], delivery)
    assert assembled(delivery).items["title"].to_pylist()[0] == "one"


def test_relations_that_lead_nowhere_are_counted(write: Write, delivery: Delivery, assembled: Any) -> None:
    read_amazon(
        [write([{"asin": "A1", "also_view": ["A1", "B2", "GONE"], "also_buy": ["GONE"]}, {"asin": "B2"}])], delivery
    )
    counts = assembled(delivery).counts
    assert counts["relations"] == 4
    assert (counts["relations_outside"], counts["relations_to_itself"], counts["relations_kept"]) == (2, 1, 1)


def test_several_files_make_one_catalogue(tmp_path: Path, delivery: Delivery, assembled: Any) -> None:
    paths = [tmp_path / "one.json", tmp_path / "two.json.gz"]
    paths[0].write_text(json.dumps({"asin": "A1", "also_view": ["B2"]}))
    paths[1].write_bytes(gzip.compress(json.dumps({"asin": "B2"}).encode()))
    read_amazon(paths, delivery)
    shop = assembled(delivery)
    assert shop.ids == ["A1", "B2"]
    assert set(shop.edges("view")) == {("A1", "B2")}


def test_what_cannot_be_stored_as_text_does_no_harm(write: Write, row: Row) -> None:
    found = row(
        write([{"asin": "A1", "title": "smile \ud83d", "imUrl": "http://x.example/\ud83d", "price": 10**400}, *OTHERS]),
        "A1",
    )
    assert (found["title"], found["image_url"]) == ("smile", None)
    assert np.isnan(found["price"])


@pytest.mark.parametrize("written", [json.dumps, repr], ids=["json", "dict literal"])
def test_many_processes_deliver_what_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: Any, listed: Any, written: Callable[[Any], str]
) -> None:
    lines = [
        {
            "asin": f"A{number:04}",
            "title": f"It's no. {number}",
            "also_view": [f"A{number + step:04}" for step in (1, 2)],
        }
        for number in range(3_000)
    ]
    path = tmp_path / "meta.json"
    path.write_text("\n".join(map(written, lines)), encoding="utf-8")
    monkeypatch.setattr(amazon, "LineBlocks", lambda path, **rest: LineBlocks(path, **rest, block_bytes=4_000))
    found = []
    for cores in (1, 2):
        (folder := tmp_path / str(cores)).mkdir()
        delivery = Delivery(folder)
        read_amazon([path], delivery, cores=cores)
        found.append((records(delivery), listed(delivery, "view"), delivery.counts))
    assert len(found[0][0]) == 3_000
    assert repr(found[0]) == repr(found[1])


def _cut(path: Path, whole: int) -> Path:
    """A gzip file that is cut short after so many whole records and a piece of the next."""
    packer = zlib.compressobj(wbits=31)
    lines = b"".join(
        json.dumps({"asin": f"A{number}", "also_view": ["A0"]}).encode() + b"\n" for number in range(whole)
    )
    path.write_bytes(packer.compress(lines + b'{"asin": "A') + packer.flush(zlib.Z_FULL_FLUSH))
    return path


def test_a_cut_gzip_names_the_record_after_which_it_breaks(tmp_path: Path, delivery: Delivery) -> None:
    path = _cut(tmp_path / "meta.json.gz", whole=7)
    with pytest.raises(InputError, match=r"meta\.json\.gz: the gzip stream breaks after record 7") as caught:
        read_amazon([path], delivery)
    assert "--allow-truncated" in str(caught.value.hint)


def test_whole_records_of_a_cut_gzip_are_kept_if_allowed(tmp_path: Path, delivery: Delivery, records: Any) -> None:
    read_amazon([_cut(tmp_path / "meta.json.gz", whole=7)], delivery, allow_truncated=True)
    assert [record["item_id"] for record in records(delivery)] == [f"A{number}" for number in range(7)]
    assert delivery.notes["truncated"] == {"meta.json.gz": {"after_record": 7}}


def test_a_plain_file_cut_within_its_last_line_is_kept_if_allowed(
    tmp_path: Path, delivery: Delivery, records: Any
) -> None:
    path = tmp_path / "meta.json"
    path.write_text('{"asin": "A1"}\n{"asin": "B2"}\n{"asin": "C')
    with pytest.raises(InputError, match="record 3 is neither"):
        read_amazon([path], delivery)
    read_amazon([path], delivery, allow_truncated=True)
    assert delivery.notes["truncated"] == {"meta.json": {"after_record": 2}}


def test_a_last_line_without_an_end_is_no_cut_if_it_is_whole(write: Write, delivery: Delivery) -> None:
    path = write(['{"asin": "A1"}'])
    path.write_text(path.read_text().rstrip("\n"))
    read_amazon([path], delivery, allow_truncated=True)
    assert delivery.counts["records"] == 1
    assert not delivery.notes


def test_damage_within_a_gzip_is_no_cut(tmp_path: Path, delivery: Delivery) -> None:
    content = bytearray(gzip.compress(b"".join(b'{"asin": "A%d"}\n' % number for number in range(5_000))))
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "meta.json.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"breaks after record \d+|record \d+ is neither"):
        read_amazon([path], delivery, allow_truncated=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x93NUMPY\x01\x00v\x00{\n\xff\xfe", "record 1 is neither"),
        (b"item_id,title\nA1,Hat\n", "record 1 is neither"),
        (b'[{"asin": "A1"}]\n', "record 1 is neither"),
        (b'{"asin": "A1"}\n\n{"asin": "B2"\n', "record 3 is neither"),
        (gzip.compress(b"\x00garbage\xff", mtime=0), "record 1 is neither"),
        (b"\x1f\x8bno gzip at all", "breaks after record 0"),
        (b"", "no records"),
        (gzip.compress(b"", mtime=0), "no records"),
        (b"\n\n", "no records"),
        (b'{"sku": "A1"}\n', "record 1 has no usable 'asin'"),
        (b'{"asin": " "}\n', "record 1 has no usable 'asin'"),
        (b'{"asin": "A\\ud800"}\n', "record 1 has no usable 'asin'"),
        (b"{[]: 1}\n", "record 1 is neither"),
        (b"[" * 100_000 + b"\n", "record 1 is neither"),
    ],
)
def test_what_is_no_metadata_is_refused_by_file_and_record(
    tmp_path: Path, delivery: Delivery, content: bytes, message: str
) -> None:
    path = tmp_path / "meta.json.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_amazon([path], delivery)
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.hint


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path, delivery: Delivery) -> None:
    for path in (tmp_path, tmp_path / "gone.json"):
        with pytest.raises(InputError, match=f"no file at {path}"):
            read_amazon([path], delivery)


def test_nothing_in_a_file_is_evaluated(tmp_path: Path, delivery: Delivery) -> None:
    path, mark = tmp_path / "meta.json", tmp_path / "mark"
    path.write_text(f"{{'asin': open({str(mark)!r}, 'w').name}}\n")
    with pytest.raises(InputError, match="record 1 is neither"):
        read_amazon([path], delivery)
    assert not mark.exists()
