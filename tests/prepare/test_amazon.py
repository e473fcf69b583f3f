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
from mmsc_cli.prepare.amazon import read_amazon
from mmsc_cli.prepare.catalogue import CATALOGUE_SCHEMA

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


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write records (dicts as JSON, anything else as it is) into a plain file."""

    def to_file(records: Sequence[Any]) -> Path:
        lines = [json.dumps(record) if isinstance(record, dict) else record for record in records]
        path = tmp_path / "meta.json"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return to_file


def _row(path: Path, item_id: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = read_amazon([path]).items.to_pylist()
    return next(row for row in rows if row["item_id"] == item_id)


def _edges(path: Path, kind: str) -> dict[tuple[str, str], float]:
    catalogue = read_amazon([path])
    ids = catalogue.items["item_id"].to_pylist()
    edges = getattr(catalogue, kind)
    return {
        (ids[source], ids[target]): float(strength)
        for source, target, strength in zip(edges.source, edges.target, edges.strength, strict=True)
    }


@pytest.mark.parametrize("written", [json.dumps, repr], ids=["json", "dict literal"])
def test_the_2014_schema_is_read(write: Write, written: Callable[[Any], str]) -> None:
    path = write([written(record) for record in (RECORD_2014, RECORD_2018, *OTHERS)])
    assert _row(path, "A1") == {
        "item_id": "A1",
        "title": "Hat & scarf",
        "description": "It's warm.",
        "brand": "Woolly",
        "category": ["Clothes", "Hats"],
        "price": 12.5,
        "image_url": "http://images.example/1.jpg",
        "image_path": None,
    }


def test_the_2018_schema_is_told_apart_record_by_record(write: Write) -> None:
    path = write([repr(RECORD_2014), RECORD_2018, *OTHERS])
    assert _row(path, "B2") == {
        "item_id": "B2",
        "title": "Gloves",
        "description": "Two gloves",
        "brand": "Woolly",
        "category": ["Clothes", "Gloves"],
        "price": 1299.99,
        "image_url": "https://images.example/2.jpg",
        "image_path": None,
    }
    assert read_amazon([path]).items.schema.equals(CATALOGUE_SCHEMA)


def test_strength_falls_with_the_position_in_the_merged_list(write: Write) -> None:
    path = write([RECORD_2014, RECORD_2018, *OTHERS])
    first, second, third = (0.5 + 1 / math.log2(1 + position) for position in (1, 2, 3))
    assert _edges(path, "views") == pytest.approx(
        {("A1", "B2"): first, ("A1", "C3"): second, ("A1", "D4"): third, ("B2", "A1"): first}
    )
    assert _edges(path, "purchases") == pytest.approx({("A1", "D4"): first, ("B2", "A1"): first, ("B2", "C3"): second})


def test_empty_and_missing_fields_are_unknown(write: Write) -> None:
    path = write([{"asin": "A1", "title": "", "price": "", "category": [], "also_view": ""}])
    row = _row(path, "A1")
    assert math.isnan(row.pop("price"))
    assert row == {
        "item_id": "A1",
        "title": "",
        "description": "",
        "brand": "",
        "category": [],
        "image_url": None,
        "image_path": None,
    }
    assert read_amazon([path]).counts["without_title"] == 1


def test_of_repeated_records_the_richest_stays(write: Write) -> None:
    path = write([{"asin": "A1"}, RECORD_2014, {"asin": "A1", "title": "Poor"}, *OTHERS])
    catalogue = read_amazon([path])
    assert _row(path, "A1")["brand"] == "Woolly"
    assert catalogue.counts["repeated"] == 2
    assert catalogue.counts["records"] == catalogue.counts["items"] + catalogue.counts["repeated"]


def test_relations_that_lead_nowhere_are_counted(write: Write) -> None:
    path = write([{"asin": "A1", "also_view": ["A1", "B2", "GONE"], "also_buy": ["GONE"]}, {"asin": "B2"}])
    counts = read_amazon([path]).counts
    assert counts["relations"] == 4
    assert (counts["relations_outside"], counts["relations_to_itself"], counts["relations_kept"]) == (2, 1, 1)


def test_several_files_make_one_catalogue(tmp_path: Path) -> None:
    paths = [tmp_path / "one.json", tmp_path / "two.json.gz"]
    paths[0].write_text(json.dumps({"asin": "A1", "also_view": ["B2"]}))
    paths[1].write_bytes(gzip.compress(json.dumps({"asin": "B2"}).encode()))
    catalogue = read_amazon(paths)
    assert catalogue.items["item_id"].to_pylist() == ["A1", "B2"]
    assert len(catalogue.views.source) == 1


def test_what_cannot_be_stored_as_text_does_no_harm(write: Write) -> None:
    path = write([{"asin": "A1", "title": "smile \ud83d", "imUrl": "http://x.example/\ud83d", "price": 10**400}])
    row = _row(path, "A1")
    assert (row["title"], row["image_url"]) == ("smile", None)
    assert np.isnan(row["price"])


def test_a_broken_gzip_names_the_record_after_which_it_breaks(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    whole = b"".join(json.dumps({"asin": f"A{number}", "title": "x"}).encode() + b"\n" for number in range(7))
    # Seven records reach the disk; the stream goes on but is cut.
    content = packer.compress(whole) + packer.flush(zlib.Z_FULL_FLUSH)
    path = tmp_path / "meta.json.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"meta\.json\.gz: the gzip stream breaks after record 7"):
        read_amazon([path])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x93NUMPY\x01\x00v\x00{\n\xff\xfe", "record 1 is neither"),
        (b"item_id,title\nA1,Hat\n", "record 1 is neither"),
        (b'[{"asin": "A1"}]\n', "record 1 is neither"),
        (b'{"asin": "A1"}\n\n{"asin": "B2"\n', "record 3 is neither"),
        (gzip.compress(b"\x00garbage\xff"), "record 1 is neither"),
        (b"\x1f\x8bno gzip at all", "breaks after record 0"),
        (b"", "no records"),
        (gzip.compress(b""), "no records"),
        (b"\n\n", "no records"),
        (b'{"sku": "A1"}\n', "record 1 has no usable 'asin'"),
        (b'{"asin": " "}\n', "record 1 has no usable 'asin'"),
        (b'{"asin": 7}\n', "record 1 has no usable 'asin'"),
        (b'{"asin": "A\\ud800"}\n', "record 1 has no usable 'asin'"),
        (b"{[]: 1}\n", "record 1 is neither"),
        (b"[" * 100_000 + b"\n", "record 1 is neither"),
    ],
)
def test_what_is_no_metadata_is_refused_by_file_and_record(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "meta.json.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_amazon([path])
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.hint


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.json"):
        with pytest.raises(InputError, match=f"no file at {path}"):
            read_amazon([path])


def test_nothing_in_a_file_is_evaluated(tmp_path: Path) -> None:
    path, mark = tmp_path / "meta.json", tmp_path / "mark"
    path.write_text(f"{{'asin': open({str(mark)!r}, 'w').name}}\n")
    with pytest.raises(InputError, match="record 1 is neither"):
        read_amazon([path])
    assert not mark.exists()
