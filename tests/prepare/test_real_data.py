"""The real files: figures measured once, independently of this code."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.files.line_blocks import LineBlocks
from mmsc_cli.prepare.counts import balance
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources.amazon import read_amazon
from mmsc_cli.prepare.sources.python_literal import read_dict_literal

DATA = Path(os.environ.get("MMSC_TEST_DATA") or Path(__file__).parents[2].parent / "shared" / "data")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real data: set MMSC_TEST_DATA to their folder"),
]


def test_beauty_has_the_known_pairs(delivery: Delivery, assembled: Any) -> None:
    read_amazon([DATA / "meta_Beauty_5core.json.gz"], delivery)
    shop = assembled(delivery)
    assert len(shop.items) == 12_101
    assert shop.pairs.holds("substitute").sum() == 119_112
    assert shop.pairs.holds("complement").sum() == 193_598
    assert shop.pairs.ambiguous().sum() == 71_449
    assert shop.truth is None
    balance(shop.counts)
    assert shop.counts["relations_kept"] == sum(len(shop.edges(kind)) for kind in ("view", "buy"))
    assert sum(bool(title) for title in shop.items["title"].to_pylist()) == 12_090


def test_gift_cards_of_2018_are_clean(delivery: Delivery, records: Any) -> None:
    read_amazon([DATA / "meta_Gift_Cards.json.gz"], delivery)
    found = records(delivery)
    assert len(found) == 1_547
    for name in ("title", "brand", "description"):
        assert not any("&amp;" in record[name] or "</" in record[name] for record in found)
    prices = [record["price"] for record in found if record["price"] == record["price"]]
    assert len(prices) > 300
    assert max(prices) < 5_000


def test_the_truncated_download_names_its_last_record(delivery: Delivery) -> None:
    with pytest.raises(InputError, match="breaks after record 7419"):
        read_amazon([DATA / "meta_Digital_Music.truncated.json.gz"], delivery)


def test_the_whole_records_of_the_truncated_download_can_be_kept(delivery: Delivery, records: Any) -> None:
    read_amazon([DATA / "meta_Digital_Music.truncated.json.gz"], delivery, allow_truncated=True)
    assert len(records(delivery)) == delivery.counts["records"] == 7_419
    assert delivery.notes["truncated"] == {"meta_Digital_Music.truncated.json.gz": {"after_record": 7_419}}


def test_dict_literals_of_2014_are_read_as_python_reads_them() -> None:
    blocks = LineBlocks(DATA / "meta_Digital_Music.truncated.json.gz", allow_truncated=True)
    lines = b"".join(block.content for block in blocks).splitlines()
    assert [read_dict_literal(line) for line in lines] == [ast.literal_eval(line.decode()) for line in lines]
