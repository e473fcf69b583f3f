"""Cleaning of what catalogue files really contain: entities, tags, page debris, price strings."""

from __future__ import annotations

import math
import re
from html import unescape
from typing import Any

_DEBRIS = re.compile(r"<script|<style|function\s*\(|var\s+\w+\s*=|getElementById|\{\s*[\w-]+\s*:", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,2000}>")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_PRICE = re.compile(r"\d[\d,]*(?:\.\d+)?")
MAX_TITLE = 1_000
MAX_DESCRIPTION = 10_000


def clean_text(value: Any, limit: int = MAX_DESCRIPTION) -> str:
    """Plain text of a field: entities resolved, tags and control characters gone, white space folded.

    A list is joined; text that is a page's script or style sheet becomes empty.
    """
    if isinstance(value, list):
        value = " ".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str) or _DEBRIS.search(value):
        return ""
    # Twice: the published files hold doubly escaped entities such as &amp;amp;
    text = _TAG.sub(" ", unescape(unescape(value)))
    return _SPACE.sub(" ", text).strip()[:limit]


def clean_price(value: Any) -> float:
    """A price as a number: `$1,299.99` is 1299.99, a range is its lower end, anything else NaN."""
    if isinstance(value, bool):
        return math.nan
    if isinstance(value, int | float):
        return float(value) if 0 < value < math.inf else math.nan
    if isinstance(value, str) and len(value) < 64 and (found := _PRICE.search(value)):
        price = float(found.group().replace(",", ""))
        return price if price > 0 else math.nan
    return math.nan


def clean_category(value: Any) -> list[str]:
    """A category path, root first. Of several paths (2014 schema) the longest; cut where feature text begins.

    The 2018 files append sentences of the product page to the path: a node is a short name, not a sentence.
    """
    if not isinstance(value, list):
        return []
    if value and isinstance(value[0], list):
        value = max(value, key=len)
    path: list[str] = []
    for node in value:
        name = clean_text(node, MAX_TITLE)
        if not name:
            continue
        if len(name) > 60 or name.endswith(".") or len(name.split()) > 8:
            break
        path.append(name)
    return path
