"""The real files: figures measured once, independently of this code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.amazon import read_amazon
from mmsc_cli.prepare.assemble import assemble
from mmsc_cli.recipe.settings import SplitSettings

DATA = Path(os.environ.get("MMSC_TEST_DATA") or Path(__file__).parents[2].parent / "shared" / "data")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real data: set MMSC_TEST_DATA to their folder"),
]


def test_beauty_has_the_known_pairs() -> None:
    catalogue = read_amazon([DATA / "meta_Beauty_5core.json.gz"])
    items, pairs, truth = assemble(catalogue, SplitSettings(), seed=1)
    assert len(items) == 12_101
    assert pairs.holds("substitute").sum() == 119_112
    assert pairs.holds("complement").sum() == 193_598
    assert pairs.ambiguous().sum() == 71_449
    assert truth is None
    counts = catalogue.counts
    lost = counts["relations_outside"] + counts["relations_to_itself"]
    assert counts["relations"] == counts["relations_kept"] + lost
    assert sum(bool(title) for title in items["title"].to_pylist()) == 12_090


def test_gift_cards_of_2018_are_clean() -> None:
    catalogue = read_amazon([DATA / "meta_Gift_Cards.json.gz"])
    assert len(catalogue.items) == 1_547
    for name in ("title", "brand", "description"):
        assert not any("&amp;" in text or "</" in text for text in catalogue.items[name].to_pylist())
    prices = [price for price in catalogue.items["price"].to_pylist() if price == price]
    assert len(prices) > 300
    assert max(prices) < 5_000


def test_the_truncated_download_names_its_last_record() -> None:
    with pytest.raises(InputError, match="breaks after record 7419"):
        read_amazon([DATA / "meta_Digital_Music.truncated.json.gz"])
