"""A megabyte of the worst that a cleaning rule can meet takes no more than linear time."""

from __future__ import annotations

import io
import multiprocessing
import resource
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pyarrow as pa
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.files.feed import read_feed
from mmsc_cli.files.id_column import read_ids
from mmsc_cli.files.item_fields import (
    clean_text,
    commas_part_paths,
    guess_category_separator,
    read_category,
    read_id,
    read_image_url,
    read_text,
)
from mmsc_cli.files.prices import decimal_mark, read_price
from mmsc_cli.index.kept_columns import Condition
from mmsc_cli.prepare.image_placement import _kind_of
from mmsc_cli.prepare.sources.log.times import is_day, is_time
from mmsc_cli.prepare.sources.python_literal import read_dict_literal
from mmsc_cli.rules.pair_rules import PairRules
from mmsc_cli.runtime.redaction import redact
from mmsc_cli.runtime.visible import shown, visible

MEGABYTE = 1_000_000
PROCESSOR_SECONDS = 180
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
    ("a", ","),
    ("a", " "),
    ("a", " | "),
    ("", "\\,"),
    ("", "a/b "),
    ("", "a"),
    ("", "1 "),
    ("", "12:"),
    ("2026-11-30", " "),
    ("", "</a>"),
    ("", "<a>"),
    ("", "<a>1</a><a>2</a>"),
    ("", "&#0;"),
]


def _literal(text: str) -> object:
    with suppress(ValueError):
        return read_dict_literal(text.encode())
    return None


def _feed(text: str) -> object:
    """One product of a feed, whose markup the text is."""
    with suppress(ValueError):
        return list(read_feed(io.BytesIO(f"<rss><item>{text}</item></rss>".encode())))
    return None


def _condition(text: str) -> object:
    with suppress(InputError):
        return Condition.parse(text)
    return None


NO_ITEMS: dict[str, list[object]] = {"category": [[]], "brand": [""], "price": [1.0]}
READERS: dict[str, Callable[[str], object]] = {
    "clean_text": lambda text: clean_text(text, counts=Counter()),
    "read_text": lambda text: read_text(text, 10_000, name="texts", counts=Counter()),
    "read_category": lambda text: read_category(text, Counter()),
    "read_id": lambda text: read_id(text, Counter()),
    "read_ids": lambda text: read_ids([text], Counter()),
    "read_image_url": lambda text: read_image_url(text),
    "read_price": lambda text: read_price(text, Counter()),
    "decimal_mark": lambda text: decimal_mark([text, text]),
    "commas_part_paths": lambda text: commas_part_paths([text]),
    "is_time": is_time,
    "is_day": is_day,
    "read_feed": _feed,
    "kind_of": _kind_of,
    "read_dict_literal": _literal,
    "guess_category_separator": lambda text: guess_category_separator([text, text + "x"]),
    "redact": redact,
    "a condition on a kept column": _condition,
    "rules over titles": lambda text: PairRules(pa.table({**NO_ITEMS, "title": [text]})),
    "shown": shown,
    "visible": visible,
}


@pytest.mark.parametrize("reader", READERS)
def test_no_text_costs_more_than_linear_time(reader: str) -> None:
    """All of it takes a second or two; the square of a megabyte takes hours. The kernel ends who takes minutes."""

    def read() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
        for before, repeated in WORST:
            text = before + repeated * (MEGABYTE // len(repeated))
            READERS[reader](text)
            READERS[reader](text + "b")  # a run that ends, behind which nothing is stripped

    child = multiprocessing.get_context("fork").Process(target=read)
    child.start()
    child.join()
    assert child.exitcode == 0, "below 0: ended by the kernel"
