"""Read ids and the fields of items as catalogues and exports write them, wherever the user gives one.

`prepare` reads its tables with this module; so do the questions of `infer` and the human labels of `label`. An id or a
field therefore means the same in every file.
"""

from __future__ import annotations

import ast
import html
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, time
from functools import lru_cache
from typing import Any

from mmsc_cli.runtime.visible import UNSAFE

MAX_TITLE = 1_000
MAX_DESCRIPTION = 10_000

# What databases, spreadsheets and data frames write where there is nothing.
NULL_WORDS = frozenset(("NA", "N/A", "n/a", "#N/A", "NULL", "null", "nan", "NaN", "NAN", r"\N", "None", "<NA>", "NaT"))
_DEBRIS = re.compile(
    # Possessive (*+): nothing is given back, or a text of many blanks would take the square of its length.
    r"<script|<style|function\s*+\w*+\s*+\([\w\s,]*+\)\s*+\{|var\s++\w++\s*+=|(?-i:getElementById)"
    r"|\{\s*+[\w-]++\s*+:",
    re.IGNORECASE,
)
# A tag begins with a letter, so that "sizes <3 and >5" stays; one that the end of the text cuts off has attributes.
_TAG = re.compile(r"<(?:/?[a-z]|!--)[^<>]{0,2000}>|<[a-z]+\s+[\w-]+=[^<>]*$", re.IGNORECASE)
# Of so many digits is no character; Python converts no number of thousands of digits.
_LONG_REFERENCE = re.compile(r"&#(?:[0-9]{20,}|[xX][0-9a-fA-F]{20,});?")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_MARKUP, _PAGE_CODE, _CUT = "texts_with_markup", "{}_of_page_code", "texts_cut"
# Spreadsheets keep the zeros of ="00123".
_FORMULA = re.compile(r'="([^"]*)"')
WHOLE_ID = re.compile(r"(-?\d+)(\.0)?")
# The keys under which objects hold their text, the likeliest first.
_TEXT_KEYS = ("name", "value", "title", "text", "label", "amount", "src", "url", "href")
_ADDRESS_ENDS = re.compile(r"(?<![\s,;|])[\s,;|]++(?=(?:https?:)?//)", re.IGNORECASE)
# These two are in no name of a category.
_ARROWS = re.compile("[>»›→]")
_PATH_ENDS = re.compile(r"[;|\n]+")
_COMMA = re.compile(r"(?<!\\),")


def unescape(text: str) -> str:
    """Return a text with the characters that its entities name."""
    return html.unescape(_LONG_REFERENCE.sub("\ufffd", text))


def is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty: None, NaN, a blank text or one of NULL_WORDS."""
    if value is None or (isinstance(value, float) and value != value):
        return True
    return isinstance(value, str) and (not (text := value.strip()) or text in NULL_WORDS)


def first_given(columns: Sequence[list[Any]]) -> list[Any]:
    """Of several columns of cells the first that is not missing, row by row."""
    if len(columns) == 1:
        return columns[0]
    return [next((cell for cell in row if not is_missing(cell)), None) for row in zip(*columns, strict=True)]


def plain_text(value: Any) -> str | None:
    """A cell as text without blanks at its ends; None where it is empty or holds no text.

    Bytes are UTF-8, whole floats lose their `.0`, of an object its one obvious text counts (`{"name": "Nordo"}`), and
    of a list of one the element.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode(errors="replace").decode().strip() or None
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip() or None
    if isinstance(value, bool | int | date | time):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 1e18 else str(value)
    if isinstance(value, dict):
        return next((plain_text(value[key]) for key in _TEXT_KEYS if not is_missing(value.get(key))), None)
    if isinstance(value, Sequence):
        return plain_text(value[0]) if len(value) == 1 else None
    if callable(getattr(value, "tolist", None)):  # a number or an array of numpy
        return plain_text(value.tolist())
    return str(value).strip() or None


def kept_text(value: Any) -> str | None:
    """A cell of a column that is kept for filters as text; None where it is empty. Texts of a list are joined."""
    if is_missing(value):
        return None
    if isinstance(value, list | tuple):
        return ", ".join(text for cell in value if (text := kept_text(cell))) or None
    return plain_text(value)


def read_id(value: Any, counts: Counter[str] | None = None) -> str:
    """An item id as text; empty where there is none.

    Float ids lose their `.0`, `="00123"` is `00123`, and all Unicode forms of an id are its NFC form. Tabs, line ends
    and other marks that answers cannot show are a blank. Words such as `NULL` are no ids, but `NA` may be one: see
    `read_ids`.

    Args:
        value: the cell.
        counts: counts `ids_mended`, and `ids_with_controls`.
    """
    if isinstance(value, str) and value.isascii() and value.isalnum():
        return "" if value in NULL_WORDS and value != "NA" else value
    text = plain_text(value) or ""
    if not text or (text in NULL_WORDS and text != "NA"):
        return ""
    formula = _FORMULA.fullmatch(text)
    mended = unicodedata.normalize("NFC", formula[1].strip() if formula else text)
    shown = " ".join(UNSAFE.sub(" ", mended).split()) if UNSAFE.search(mended) else mended
    if counts is not None:
        if mended != text:
            counts["ids_mended"] += 1
        if shown != mended:
            counts["ids_with_controls"] += 1
    return shown


def spellings(text: str) -> Iterable[str]:
    """An id as a user types it, then as a catalogue may write it; a look-up takes the first that it knows.

    Blanks at its ends are a slip: a look-up asks back.
    """
    yield text
    if text != text.strip():
        return
    if len(text) > 1 and text[0] == text[-1] == '"':  # as separated values quote it
        text = text[1:-1].replace('""', '"')
        yield text
    mended = read_id(text)
    if mended != text:
        yield mended
    if whole := WHOLE_ID.fullmatch(mended):
        yield whole[1]


def clean_text(
    value: Any, limit: int = MAX_DESCRIPTION, *, name: str = "texts", counts: Counter[str] | None = None
) -> str:
    """Plain text of a text or a list of texts: entities resolved, tags and control characters removed, blanks folded.

    A list is joined; text that is a page's script, style sheet or nothing but tags becomes empty.

    Args:
        value: as it stands in the file; what is neither text nor a list of texts counts as empty.
        limit: maximum number of characters.
        name: what the field is called in the counts.
        counts: counts `texts_with_markup`, `texts_cut` and `<name>_of_page_code`.
    """
    if isinstance(value, list):
        value = " ".join(text for text in value if isinstance(text, str))
    if not isinstance(value, str) or not value:
        return ""
    text, kinds = _clean(value, limit)
    if counts is not None:
        for kind in kinds:
            counts[kind.format(name)] += 1
    return text


def _clean(text: str, limit: int) -> tuple[str, tuple[str, ...]]:
    """The clean text, and the kinds of what was removed, to be formatted with the field's name."""
    kinds: tuple[str, ...] = ()
    given = text
    if "&" in text:
        # Twice: published files hold doubly escaped entities such as &amp;amp;
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
def clean_node(text: str) -> tuple[str, tuple[str, ...]]:
    """A category's name as plain text, and the kinds of what was removed, to be formatted with `categories`."""
    return _clean(text, MAX_TITLE)


def read_text(value: Any, limit: int, *, name: str, counts: Counter[str], joint: str = " ") -> str:
    """The plain text of a cell; texts of a list are joined.

    Args:
        value: a text, a number, a list (also one in JSON or in Python's notation), or an object with one obvious text.
        limit: maximum number of characters.
        name: what the field is called in the counts.
        counts: as for `clean_text`; also `null_words` of lists, and `<name>_unreadable` for objects without an obvious
            text.
        joint: what stands between the texts of a list.
    """
    values = _listed(value)
    texts = []
    for cell in [value] if values is None else values:
        text = plain_text(cell)
        if text in NULL_WORDS:
            counts["null_words"] += 1
        elif text is not None:
            texts.append(clean_text(text, limit, name=name, counts=counts))
        elif isinstance(cell, dict | list | tuple) and cell:
            counts[f"{name}_unreadable"] += 1
    return joint.join(filter(None, texts))[:limit].strip()


def _listed(value: Any) -> list[Any] | None:
    """The elements of a list: of a value, or of a text that is one in JSON or in Python's notation; else None."""
    if isinstance(value, str):
        text = value.strip()
        if not (text.startswith("[") and text.endswith("]")):
            return None
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(text)
                break
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    elif not isinstance(value, list | tuple) and callable(getattr(value, "tolist", None)):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) else None


def read_category(value: Any, counts: Counter[str], *, separator: str | None = None, commas: bool = False) -> list[str]:
    """A category path, root first; of several paths the deepest.

    Args:
        value: a list of names, a list of paths, or a text whose names `separator` parts.
        counts: counts `null_words` and what `clean_text` counts.
        separator: what parts the names of a path; None: one of `>` `»` `›` `→`.
        commas: whether a comma parts paths (where it belongs to a name, it is written as `\\,`).
    """
    paths = [_names(path, separator) for path in _paths(value, separator, commas)]
    path = []
    for text in max(paths, key=len, default=[]):
        if text in NULL_WORDS:
            counts["null_words"] += 1
            continue
        name, kinds = clean_node(text)
        for kind in kinds:
            counts[kind.format("categories")] += 1
        if name:
            path.append(name)
    return path


def _paths(value: Any, separator: str | None, commas: bool) -> list[Any]:
    """The paths of a cell, each a list of names or a text."""
    values = _listed(value)
    if values is not None:
        texts = [cell if isinstance(cell, list | tuple) else plain_text(cell) for cell in values]
        known = [cell for cell in texts if cell]
        # A flat list is one path, unless its texts are paths themselves.
        if all(isinstance(cell, str) and not _ARROWS.search(unescape(unescape(cell))) for cell in known):
            return [known]
        return known
    text = plain_text(value)
    if text is None:
        return []
    text = unescape(unescape(text))
    paths = [text]
    if separator is None and _ARROWS.search(text):
        paths = _PATH_ENDS.split(text)
    if commas:
        paths = [path for cell in paths for path in _COMMA.split(cell)]
    elif separator is None and "," in text and _ARROWS.search(text):
        paths = [path for cell in paths for path in _paths_of_one_root(cell)]
    return [path.replace("\\,", ",") for path in paths]


def _paths_of_one_root(text: str) -> list[str]:
    """Split paths at commas where all of them begin with the same name: elsewhere a comma belongs to a name."""
    paths = _COMMA.split(text)
    roots = {_ARROWS.split(path)[0].strip() for path in paths}
    return paths if len(roots) == 1 else [text]


def _names(path: Any, separator: str | None) -> list[str]:
    if isinstance(path, str):
        names = path.split(separator) if separator else _ARROWS.split(path)
    else:
        names = [plain_text(name) or "" for name in path]
    return [text for name in names if (text := name.strip())]


def guess_category_separator(values: Iterable[Any]) -> str | None:
    """`|` or `/` where every path of a column uses it, and there are two different paths or more; else None."""
    marks, first, several = "|/", None, False
    for value in values:
        if not isinstance(value, str) or is_missing(value):
            continue
        text = unescape(value)
        first = text if first is None else first
        several |= text != first
        if _ARROWS.search(text) or _listed(text) is not None:
            return None
        marks = "".join(mark for mark in marks if mark in text.strip(f" {mark}"))
        if not marks:
            return None
    return marks[0] if several else None


def commas_part_paths(values: Iterable[Any]) -> bool:
    """Whether a column writes the commas of its names as `\\,`, so that others part paths, as WooCommerce does."""
    return any(isinstance(value, str) and "\\," in value for value in values)


def read_image_url(value: Any) -> str | None:
    """The first address of a cell: `&amp;` is `&`, `//host/…` is https, a list or several addresses are their first."""
    values = _listed(value)
    if values is not None:
        return next((url for cell in values if (url := read_image_url(cell))), None)
    text = plain_text(value)
    if text is None or text in NULL_WORDS:
        return None
    url = unescape(_ADDRESS_ENDS.split(text)[0]).strip()
    return "https:" + url if url.startswith("//") else url
