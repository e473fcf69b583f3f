"""Cleaning of what catalogue files really contain: entities, tags, page debris, price strings, sentences in paths.

Every function takes a Counter and counts in it what it mended or could not use, so that `prepare` can say so.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from decimal import Decimal
from functools import lru_cache
from html import unescape
from typing import Any

MAX_TITLE = 1_000
MAX_DESCRIPTION = 10_000
MAX_NODE = 60
MAX_NODE_WORDS = 8

_DEBRIS = re.compile(
    r"<script|<style|function\s*\w*\s*\([\w\s,]*\)\s*\{|var\s+\w+\s*=|(?-i:getElementById)|\{\s*[\w-]+\s*:",
    re.IGNORECASE,
)
# A tag begins with a letter, so that "sizes <3 and >5" stays; one that the end of the text cuts off has attributes.
_TAG = re.compile(r"<(?:/?[a-z]|!--)[^<>]{0,2000}>|<[a-z]+\s+[\w-]+=[^<>]*$", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
# 1,299.99 and 1.299,99, else a number with a decimal point or comma.
_PRICE = re.compile(r"(?P<commas>\d{1,3}(?:,\d{3})+(?:\.\d+)?)(?!\d)|(?P<points>\d{1,3}(?:\.\d{3})+,\d+)|\d*[.,]?\d+")
_LONGEST_PRICE = 64

_MARKUP, _PAGE_CODE, _CUT = "texts_with_markup", "{}_of_page_code", "texts_cut"


def clean_text(
    value: Any, limit: int = MAX_DESCRIPTION, *, name: str = "texts", found: Counter[str] | None = None
) -> str:
    """Plain text of a field: entities resolved, tags, control characters and lone surrogates gone, white space folded.

    A list is joined; text that is a page's script, style sheet or nothing but tags becomes empty.

    Args:
        value: as it stands in the file; what is neither text nor a list of texts counts as empty.
        limit: characters that are kept.
        name: what the field is called in the counts.
        found: counts `texts_with_markup`, `texts_cut` and `<name>_of_page_code`.
    """
    if isinstance(value, list):
        value = " ".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str) or not value:
        return ""
    text, kinds = _clean(value, limit)
    if found is not None:
        for kind in kinds:
            found[kind.format(name)] += 1
    return text


def _clean(text: str, limit: int) -> tuple[str, tuple[str, ...]]:
    """The text, and the kinds of what was met in it, to be formatted with the field's name."""
    kinds: tuple[str, ...] = ()
    given = text
    if "&" in text:
        # Twice: the published files hold doubly escaped entities such as &amp;amp;
        text = unescape(unescape(text))
    # Looking for the marks of debris first is far cheaper than the pattern.
    marked = "{" in text or "<s" in text or "<S" in text or "=" in text or "getElementById" in text
    if marked and _DEBRIS.search(text):
        return "", (_PAGE_CODE,)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if text != given:
        kinds = (_MARKUP,) if text.strip() else (_MARKUP, _PAGE_CODE)
    if "  " in text or not text.isprintable():
        text = " ".join(text.split())
        if not text.isprintable():
            text = " ".join(_CONTROLS.sub(" ", text).split())
    text = text.strip()
    if len(text) > limit:
        return text[:limit].strip(), (*kinds, _CUT)
    return text, kinds


@lru_cache(1 << 16)  # the names of categories recur in every record
def _clean_node(text: str) -> tuple[str, tuple[str, ...], bool]:
    """A category's name, the kinds of what was met in it, and whether it is a name at all, not a sentence."""
    name, kinds = _clean(text, MAX_TITLE)
    return name, kinds, not (len(name) > MAX_NODE or name.endswith(".") or len(name.split()) > MAX_NODE_WORDS)


def clean_price(value: Any, found: Counter[str] | None = None) -> float:
    """A price as a number: `$1,299.99` is 1299.99, `12,50 EUR` 12.5, a range its lower end, anything else NaN.

    `found` counts `price_ranges` and `prices_unreadable`, the latter without empty values.
    """
    found = Counter() if found is None else found
    given = value
    if isinstance(value, str):
        value = _written_price(value, found) if len(value) < _LONGEST_PRICE else None
    elif isinstance(value, Decimal):
        value = float(value)
    if not isinstance(value, bool) and isinstance(value, int | float) and 0 < value <= sys.float_info.max:
        return float(value)
    empty = given is None or (isinstance(given, str) and not given.strip()) or given != given
    if not empty:
        found["prices_unreadable"] += 1
    return math.nan


def _written_price(text: str, found: Counter[str]) -> float | None:
    try:
        return float(text)
    except ValueError:
        prices = list(_PRICE.finditer(text))
    if not prices:
        return None
    if len(prices) > 1:
        found["price_ranges"] += 1
    first = prices[0]
    thousands = "," if first["commas"] else "." if first["points"] else ""
    return float(first.group().replace(thousands, "").replace(",", "."))


def clean_category(value: Any, found: Counter[str] | None = None) -> list[str]:
    """A category path, root first. Of several paths (2014 schema) the longest; cut where feature text begins.

    The 2018 files append sentences of the product page to the path: a node is a short name, not a sentence. `found`
    counts `categories_cut`.
    """
    if not isinstance(value, list):
        return []
    paths = [path for path in value if isinstance(path, list)]
    path: list[str] = []
    for node in max(paths, key=len) if paths else value:
        if not isinstance(node, str):
            continue
        name, kinds, is_name = _clean_node(node)
        if found is not None:
            for kind in kinds:
                found[kind.format("categories")] += 1
        if not name:
            continue
        if not is_name:
            if found is not None:
                found["categories_cut"] += 1
            break
        path.append(name)
    return path
