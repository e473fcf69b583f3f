"""Cleaning of what catalogue files really contain: entities, tags, page debris, price strings."""

from __future__ import annotations

import math
import re
import sys
from decimal import Decimal
from html import unescape
from typing import Any

_DEBRIS = re.compile(
    r"<script|<style|function\s*\w*\s*\([\w\s,]*\)\s*\{|var\s+\w+\s*=|getElementById|\{\s*[\w-]+\s*:",
    re.IGNORECASE,
)
# A tag begins with a letter, so that "sizes <3 and >5" stays; one that the end of the text cuts off has attributes.
_TAG = re.compile(r"<(?:/?[a-z]|!--)[^<>]{0,2000}>|<[a-z]+\s+[\w-]+=[^<>]*$", re.IGNORECASE)
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
# 1,299.99 and 1.299,99, else a number with a decimal point or comma.
_PRICE = re.compile(r"(?P<commas>\d{1,3}(?:,\d{3})+(?:\.\d+)?)(?!\d)|(?P<points>\d{1,3}(?:\.\d{3})+,\d+)|\d*[.,]?\d+")
MAX_TITLE = 1_000
MAX_DESCRIPTION = 10_000


def clean_text(value: Any, limit: int = MAX_DESCRIPTION) -> str:
    """Plain text of a field: entities resolved, tags, control characters and lone surrogates gone, white space folded.

    A list is joined; text that is a page's script or style sheet becomes empty.
    """
    if isinstance(value, list):
        value = " ".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str):
        return ""
    # Twice: the published files hold doubly escaped entities such as &amp;amp;
    text = unescape(unescape(value))
    if _DEBRIS.search(text):
        return ""
    return _SPACE.sub(" ", _TAG.sub(" ", text))[: limit + 1].strip()[:limit]


def clean_price(value: Any) -> float:
    """A price as a number: `$1,299.99` is 1299.99, `12,50 EUR` 12.5, a range its lower end, anything else NaN."""
    if isinstance(value, str):
        value = _written_price(value) if len(value) < 64 else None
    elif isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if 0 < value <= sys.float_info.max else math.nan


def _written_price(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        found = _PRICE.search(text)
    if found is None:
        return None
    thousands = "," if found["commas"] else "." if found["points"] else ""
    return float(found.group().replace(thousands, "").replace(",", "."))


def clean_category(value: Any) -> list[str]:
    """A category path, root first. Of several paths (2014 schema) the longest; cut where feature text begins.

    The 2018 files append sentences of the product page to the path: a node is a short name, not a sentence.
    """
    if not isinstance(value, list):
        return []
    paths = [path for path in value if isinstance(path, list)]
    path: list[str] = []
    for node in max(paths, key=len) if paths else value:
        name = clean_text(node, MAX_TITLE)
        if not name:
            continue
        if len(name) > 60 or name.endswith(".") or len(name.split()) > 8:
            break
        path.append(name)
    return path
