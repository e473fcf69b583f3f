"""A megabyte of the worst that a cleaning rule can meet takes no more than linear time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest

from mmsc_cli.files.item_fields import clean_text, read_category, read_id, read_ids, read_image_url, read_text
from mmsc_cli.files.prices import read_price
from mmsc_cli.runtime.redaction import redact

MEGABYTE = 1_000_000
# Processor seconds after which an input counts as a hang, as in the campaign; square time takes minutes.
HANG = 5.0
# What is repeated, and what comes before it.
WORST = [
    ("{ function", " "),
    ("{ function(", "a "),
    ("{ function", "a"),
    ("=", "function "),
    ("{", "function("),
    ("= var ", "\t"),
    ("=", "var "),
    ("{", " "),
    ("", "{ "),
    ("", "<a "),
    ("<a ", " "),
    ("<", "a"),
    ("", "<a x="),
    ("", "<!--"),
    ("", "&"),
    ("", "&amp;amp;"),
    ("&#", "9"),
    ("", " > "),
    ("", "1,234"),
    ("", "1."),
    ("$", "9"),
    ("", "'"),
    ("", "\\"),
    ("", "["),
    ('="', '"'),
    ("", "http://"),
    ("http://", "@"),
    ("http://a?", "?"),
]
READERS: dict[str, Callable[[str], object]] = {
    "clean_text": lambda text: clean_text(text, counts=Counter()),
    "read_text": lambda text: read_text(text, 10_000, name="texts", counts=Counter()),
    "read_category": lambda text: read_category(text, Counter()),
    "read_id": lambda text: read_id(text, Counter()),
    "read_ids": lambda text: read_ids([text], Counter()),
    "read_image_url": lambda text: read_image_url(text),
    "read_price": lambda text: read_price(text, Counter()),
    "redact": redact,
}


@pytest.mark.parametrize("reader", READERS)
def test_no_text_costs_more_than_linear_time(reader: str) -> None:
    for before, repeated in WORST:
        text = before + repeated * (MEGABYTE // len(repeated))
        started = time.process_time()
        READERS[reader](text)
        assert time.process_time() - started < HANG, (before, repeated)
