from __future__ import annotations

import re

from mmsc_cli.prepare.sources.demo.names import BRAND_NAMES, brand_name, house_word, item_ids, value_name
from mmsc_cli.prepare.sources.demo.shop import ATTRIBUTE_INDEX, ATTRIBUTES


def test_item_ids_look_like_real_ones_and_are_unique() -> None:
    ids = item_ids(1, 5_000)
    assert len(set(ids)) == 5_000
    assert all(re.fullmatch("D[0-9A-HJKMNP-TV-Z]{9}", name) for name in ids)
    assert item_ids(1, 10) == ids[:10]
    assert not set(item_ids(2, 5_000)) & set(ids)


def test_brand_names_differ() -> None:
    assert len({brand_name(number) for number in range(BRAND_NAMES)}) == BRAND_NAMES


def test_every_value_has_a_name_of_its_own() -> None:
    mount = ATTRIBUTE_INDEX["mount"]
    names = [value_name(mount, value) for value in range(500)]
    assert len(set(names)) == 500
    assert tuple(names[: len(ATTRIBUTES[mount].words)]) == ATTRIBUTES[mount].words


def test_a_house_word_belongs_to_one_brand_and_one_value() -> None:
    words = {house_word(brand, 2, value) for brand in range(30) for value in range(30)}
    assert len(words) == 900
