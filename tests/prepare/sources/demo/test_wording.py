from __future__ import annotations

import numpy as np
import pytest

from mmsc_cli.prepare.sources.demo.names import value_name
from mmsc_cli.prepare.sources.demo.shop import ATTRIBUTE_INDEX, PRODUCT_TYPES
from mmsc_cli.prepare.sources.demo.stock import Stock
from mmsc_cli.prepare.sources.demo.wording import COLOUR_SLOT, Texts, write_texts


@pytest.fixture(scope="module")
def texts(stock: Stock) -> Texts:
    return write_texts(stock, 3)


def test_text_helps_but_is_no_lookup(stock: Stock, texts: Texts) -> None:
    named, called = 0, 0
    for row in range(len(stock)):
        kind = PRODUCT_TYPES[stock.product_type[row]]
        attribute = ATTRIBUTE_INDEX[kind.attributes[0]]
        text = f"{texts.titles[row]} {texts.descriptions[row]}"
        named += value_name(attribute, int(stock.values[row, attribute])) in text
        called += any(noun in texts.titles[row] for noun in kind.nouns)
    assert 0.5 < named / len(stock) < 0.9
    assert called == len(stock), "a person judges answers by their titles"


def test_titles_are_clean(texts: Texts) -> None:
    for text in (*texts.titles, *texts.descriptions):
        assert not {COLOUR_SLOT, "{", "}"} & set(text)
        assert text == text.strip()
        assert "  " not in text
    assert all(texts.titles)


def test_colour_variants_share_their_wording(stock: Stock, texts: Texts) -> None:
    models, counts = np.unique(stock.model, return_counts=True)
    one, other = np.flatnonzero(stock.model == models[np.argmax(counts)])[:2]
    assert texts.titles[one] != texts.titles[other]
    assert len(set(texts.titles[one].split()) ^ set(texts.titles[other].split())) <= 2


def test_paths_start_at_the_department_and_some_are_short_or_wrong(stock: Stock, texts: Texts) -> None:
    own = [PRODUCT_TYPES[kind].category for kind in stock.product_type]
    assert all(path[0] == category[0] for path, category in zip(texts.categories, own, strict=True))
    assert {len(path) for path in texts.categories} == {2, 3, 4}
    right = np.mean([tuple(path) == category for path, category in zip(texts.categories, own, strict=True)])
    assert 0.8 < right < 0.95
