"""What a log calls views and purchases."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mmsc_cli.prepare.settings import EventType
from mmsc_cli.prepare.sources.aliases import EVENT_WORDS

# Words of types that are neither a view of an item nor its purchase, whatever else is in them.
_OTHERS = frozenset(
    (
        *("abandon", "add", "added", "begin", "begun", "cancel", "canceled", "cancelled", "cart", "coupon", "fail"),
        *("failed", "favorite", "favourite", "initiate", "initiated", "list", "pending", "promotion", "refund"),
        *("refunded", "remove", "removed", "return", "returned", "review", "search", "share", "start", "started"),
        *("update", "wish", "wishlist", "warenkorb", "merkliste", "storno", "retoure", "abbruch", "suche"),
    )
)
_KNOWN: dict[str, EventType] = {_word: _type for _type in ("view", "purchase") for _word in EVENT_WORDS[_type]}


def type_of(word: str) -> EventType | None:
    """Whether a log's word for a type of events means a view or a purchase; None: neither."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word).lower())
    plain = " ".join(filter(None, words))
    for known, kind in _KNOWN.items():
        if plain == known.replace("_", " "):
            return kind
    if _OTHERS.intersection(words):
        return None
    kinds = {kind for known, kind in _KNOWN.items() if known in words}
    return kinds.pop() if len(kinds) == 1 else None


def types_of(words: Mapping[str, int]) -> dict[EventType, list[str]]:
    """The words of each of our types of events, the most frequent first."""
    types: dict[EventType, list[str]] = {}
    for word in sorted(words, key=lambda word: (-words[word], word)):
        if (kind := type_of(word)) is not None:
            types.setdefault(kind, []).append(word)
    return types
