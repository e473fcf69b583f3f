"""Which column of a file stands for which of ours: by its name, and by what it holds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import get_args

from mmsc_cli.files.prices import read_price
from mmsc_cli.files.table_file import find_name
from mmsc_cli.prepare.guess.event_types import type_of
from mmsc_cli.prepare.guess.head import Head
from mmsc_cli.prepare.settings import ItemColumn, PairColumn
from mmsc_cli.prepare.sources.aliases import ALIASES
from mmsc_cli.prepare.sources.log.times import is_day, is_time

_IMAGE = re.compile(r"\.(jpe?g|png|webp|gif|avif)\b", re.IGNORECASE)
_MOST_TYPES = 200
_SAMPLE = 500
_NO_TYPES = ("status", "state", "channel", "source", "medium", "page")
_PATH = re.compile(r"\w\s*[>»›]\s*\w")
_WHOLE = re.compile(r"[+-]?\d+([.,]0+)?")
# Half of the ordered quantities are no larger.
_FEW_PIECES = 10
_WORDS = re.compile(r"\D{3,}\s.{1,200}")
# What tells a column whose name is not known.
_TELLING_CONTENT: dict[str, Callable[[str], object]] = {
    "image_url": lambda text: "//" in text and _IMAGE.search(text),
    "category": lambda text: "<" not in text and _PATH.search(text),
    "title": lambda text: "//" not in text and _WORDS.fullmatch(text),
}
# Of the cells of a column, those that must be what the column is for.
_MOST, _HALF = 0.8, 0.5


def item_columns(head: Head) -> dict[str, str]:
    """What a table of items calls our columns, as far as that can be guessed."""
    columns = _guess(head, [name for name in get_args(ItemColumn) if name != "item_id"], used=())
    columns |= _by_content(head, _TELLING_CONTENT, columns)
    for name in id_candidates(head):
        if name not in {columns.get("title"), columns.get("image_url"), columns.get("price")}:
            columns = {"item_id": name} | {ours: theirs for ours, theirs in columns.items() if theirs != name}
            break
    return columns


def log_columns(head: Head) -> dict[str, str]:
    """What a log calls our columns, as far as that can be guessed."""
    columns = _guess(head, ("type", "time", "item", "session", "quantity"), used=())
    if "time" not in columns:
        columns |= _by_content(head, {"time": is_day}, columns)
    # A column of times that are none is read all the same, so that `prepare` says what is in it.
    if "time" not in columns and (theirs := _named_like_time(head, columns)) and head.texts(theirs):
        columns["time"] = theirs
    if "type" not in columns and (theirs := _types_by_content(head, columns)):
        columns["type"] = theirs
    if "quantity" not in columns and (theirs := _pieces_by_content(head, columns)):
        columns["quantity"] = theirs
    return columns


def column_of(head: Head, ids: AbstractSet[str], used: Iterable[str]) -> str | None:
    """The column of a log, of those that are not used yet, most of whose cells are among these ids."""
    shares = [(_share(set(head.texts(name)), ids), name) for name in head.names if name not in used]
    best = max(shares, default=(0.0, ""))
    return best[1] if best[0] > _HALF else None


def time_doubts(head: Head, columns: Mapping[str, str]) -> str | None:
    """What is wrong with the column that has the name of times; None: nothing is, or there is no such column."""
    name = columns.get("time") or _named_like_time(head, columns)
    if name is None:
        return None
    texts = head.texts(name)[:_SAMPLE]
    if not texts:
        return f'the column "{name}" looks like time, but its cells are empty'
    if _mostly(texts, is_time):
        return None
    seen = ", ".join(map(repr, list(dict.fromkeys(text for text in texts if not is_time(text)))[:3]))
    return f'the cells of "{name}" are no times that are read (seen: {seen})'


def _named_like_time(head: Head, columns: Mapping[str, str]) -> str | None:
    free = [name for name in head.names if name not in columns.values()]
    return next((name for exact in (True, False) for name in _named("time", free, exact)), None)


def _pieces_by_content(head: Head, columns: Mapping[str, str]) -> str | None:
    """The column of small whole numbers, a few of them negative: ordered pieces, and what was sent back."""
    for name in head.names:
        if name in columns.values() or _taken_by_name(name):
            continue
        texts = head.texts(name)
        if not texts or not all(_WHOLE.fullmatch(text) for text in texts):
            continue
        numbers = sorted(float(text.replace(",", ".")) for text in texts)
        if numbers[0] < 0 < numbers[len(numbers) // 2] <= _FEW_PIECES:
            return name
    return None


def _types_by_content(head: Head, columns: Mapping[str, str]) -> str | None:
    """The column whose few different words say that something was viewed, or all that something was viewed or bought.

    What is called a status says other things.
    """
    rows = max(map(len, head.columns.values()))
    for name in head.names:
        if name in columns.values() or any(word in name.lower() for word in _NO_TYPES):
            continue
        texts = head.texts(name)
        words = {word for word in set(texts) if word.lower() != "open"}
        if not 0 < len(words) <= _MOST_TYPES:
            continue
        if any(type_of(word) == "view" for word in words) or (len(texts) == rows and all(map(type_of, words))):
            return name
    return None


def pair_columns(head: Head) -> dict[str, str]:
    """What a table of pairs calls our columns; without `a` and `b` it is none."""
    for first, second in zip(ALIASES["a"], ALIASES["b"], strict=False):
        a, b = find_name(first, head.names), find_name(second, head.names)
        if a is not None and b is not None:
            return {"a": a, "b": b} | _guess(head, get_args(PairColumn)[2:], used=(a, b))
    return {}


def id_candidates(head: Head) -> list[str]:
    """The columns that may hold the ids of items, one a row: those with a known name first."""
    known = [theirs for alias in ALIASES["item_id"] if (theirs := find_name(alias, head.names))]
    others = [name for name in head.names if name not in known and not _taken_by_name(name)]
    rows = max(map(len, head.columns.values()))
    return [name for name in dict.fromkeys((*known, *others)) if _are_ids(head.texts(name), rows)]


def item_candidates(head: Head) -> list[str]:
    """The columns of a log with a known name that may hold the ids of items, the likeliest first."""
    return list(dict.fromkeys(theirs for alias in ALIASES["item"] if (theirs := find_name(alias, head.names))))


def _taken_by_name(name: str) -> bool:
    """Whether the name of a column says that it is one of our others."""
    return any(
        find_name(alias, [name])
        for ours, aliases in ALIASES.items()
        if ours not in ("item_id", "a")
        for alias in aliases
    )


def _share(ids: AbstractSet[str], others: AbstractSet[str]) -> float:
    return len(ids & others) / len(ids) if ids else 0.0


def _are_ids(texts: Sequence[str], rows: int) -> bool:
    """Whether texts can be ids: nearly all there, and nearly all different."""
    if not texts or len(texts) < _HALF * rows:
        return False
    short = all(len(text) <= 128 and "\n" not in text for text in texts[:_SAMPLE])
    return short and len(set(texts)) > _HALF * len(texts)


def _by_content(head: Head, telling: Mapping[str, Callable[[str], object]], known: Mapping[str, str]) -> dict[str, str]:
    """Our columns that are not known yet to those of the file that hold what tells them."""
    columns: dict[str, str] = {}
    for ours in (name for name in telling if name not in known):
        for name in head.names:
            if name in (*known.values(), *columns.values()) or _taken_by_name(name):
                continue
            if (texts := head.texts(name)[:_SAMPLE]) and _mostly(texts, telling[ours]):
                columns[ours] = name
                break
    return columns


def _guess(head: Head, wanted: Iterable[str], used: Iterable[str]) -> dict[str, str]:
    """Our columns to those of the file, each of which is used once."""
    columns: dict[str, str] = {}
    taken = set(used)
    for exact in (True, False):
        for ours in wanted:
            if ours in columns:
                continue
            for theirs in _named(ours, [name for name in head.names if name not in taken], exact):
                if _fits(ours, head.texts(theirs)):
                    columns[ours] = theirs
                    taken.add(theirs)
                    break
    return columns


def _named(ours: str, names: Sequence[str], exact: bool) -> list[str]:
    """The names that stand for one of our columns; not exact: those that contain such a name as a whole word."""
    if exact:
        return [theirs for alias in ALIASES[ours] if (theirs := find_name(alias, names))]
    if ours in ("item", "item_id", "session", "a", "b", "quantity", "group"):
        return []
    words = {theirs: re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", theirs).lower()) for theirs in names}
    single = [alias for alias in ALIASES[ours] if alias.isalpha() and len(alias) > 3]
    return [theirs for alias in single for theirs in names if alias in words[theirs] and "id" not in words[theirs]]


def _fits(ours: str, texts: Sequence[str]) -> bool:
    """Whether the cells of a column can be what one of our columns holds; empty columns fit nothing."""
    return bool(texts) and (ours not in _CHECKS or _CHECKS[ours](texts[:_SAMPLE]))


def _mostly(texts: Sequence[str], check: Callable[[str], object]) -> bool:
    return sum(bool(check(text)) for text in texts) >= _MOST * len(texts)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text.replace(",", ".")))
    except ValueError:
        return False


_CHECKS: dict[str, Callable[[Sequence[str]], bool]] = {
    "title": lambda texts: _mostly(texts, lambda text: any(map(str.isalpha, text))),
    "description": lambda texts: _mostly(texts, lambda text: any(map(str.isalpha, text))),
    "brand": lambda texts: not _mostly(texts, _is_number),
    "price": lambda texts: _mostly(texts, lambda text: text.strip(" 0.,") == "" or read_price(text) > 0),
    "image_url": lambda texts: _mostly(texts, lambda text: "//" in text),
    "image_path": lambda texts: _mostly(texts, lambda text: "//" not in text and _IMAGE.search(text)),
    "group": lambda texts: len(set(texts)) < len(texts) or len(texts) < 20,
    "type": lambda texts: len(set(texts)) <= _MOST_TYPES and not (texts and _mostly(texts, is_time)),
    "time": lambda texts: _mostly(texts, is_time),
    "quantity": lambda texts: _mostly(texts, _is_number),
    "co_view": lambda texts: _mostly(texts, _is_number),
    "co_purchase": lambda texts: _mostly(texts, _is_number),
}


def has_event_words(texts: Iterable[str]) -> bool:
    """Whether some cells say that something was viewed or bought."""
    return any(type_of(text) for text in set(texts))
