"""Read prices as shops write them: grouped digits, decimal commas, currencies before or after, ranges."""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal

from mmsc_cli.files.item_fields import is_missing, plain_text

Mark = Literal[".", ","]
_PLAIN = re.compile(r"\d+(?:\.\d{1,2})?(?:e\+?\d{1,2})?", re.ASCII | re.IGNORECASE)
# A number: digits in groups of three (or, in India, of two before the last three) with one mark between all groups, and
# decimals behind another mark; or digits with at most one mark.
_NUMBER = re.compile(
    r"""(?<![\d.,])(?:
      (?P<grouped>\d{1,3}(?:(?P<mark>[ '’.,_])\d{3})(?:(?P=mark)\d{3})*)(?P<cents>(?!(?P=mark))[.,]\d+)?
    | (?P<lakh>\d{1,2}(?:,\d{2})+,\d{3})(?P<paise>\.\d+)?
    | (?P<plain>\d*[.,]\d+|\d+)
    )(?!\d)""",
    re.VERBOSE,
)
_LONGEST = 64
# Latin letters right behind a number make it no price ("2x", "20pcs"), unless they are a currency.
_CURRENCY_BEHIND = re.compile(
    r"(?:[A-Z]{3}|eur|usd|gbp|chf|pln|sek|nok|dkk|euro?s?|kr|Kr|KR|zł|Kč|Ft|lei|kn|[Rr]s|dh|Dh|TL|DA|din)\.?(?![^\W\d_])"
)
_MULTIPLE = re.compile(r"\s?(?:(?:k|m|mio|mn|bn|thousand|tsd|million|lakh|crore)\b|[千万萬億만])", re.IGNORECASE)
# The dot of "Rs.500" is no decimal mark.
_ABBREVIATION = re.compile(r"(?<=[^\W\d_])\.(?=\s?\d)")
# A percentage, a negative number, a time.
_NO_PRICE = re.compile(r"%|^\D*[-–]\s?[^\d\s]*\s?\d|\d:\d")
_NO_CENTS = re.compile(r"[.,][-–—]")


def read_price(value: Any, counts: Counter[str] | None = None, decimal: Mark | None = None) -> float:
    """A price as a number, NaN where there is none; of a range the lower end.

    Args:
        value: a number, a text, or an object with one obvious text (`{"amount": "19.90"}`).
        counts: counts `price_ranges` and `prices_unreadable`, the latter without empty cells.
        decimal: the decimal mark of the column, which decides on `1.299`; see `decimal_mark`. None: a dot is decimal, a
            comma before three digits groups.
    """
    counts = Counter() if counts is None else counts
    number: float | None = None
    if isinstance(value, Decimal):
        number = float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < sys.float_info.max else None
    else:
        text = plain_text(value)
        if text is not None and len(text) < _LONGEST:
            number = float(text) if _PLAIN.fullmatch(text) else _written(text, counts, decimal)
    if number is not None and 0 < number <= sys.float_info.max:
        return number
    if not is_missing(value):
        counts["prices_unreadable"] += 1
    return math.nan


def decimal_mark(values: Iterable[Any]) -> Mark | None:
    """The decimal mark that a column's unambiguous prices use.

    Where all prices with a mark look like `1.299`, and the others have none, the mark groups: nobody sells all goods at
    three decimals. None: the column says nothing.
    """
    clear: Counter[str] = Counter()
    doubtful: Counter[str] = Counter()
    whole = 0
    for value in values:
        if not isinstance(value, str) or len(value) >= _LONGEST or (text := value.strip()).isdecimal():
            whole += isinstance(value, str) and value.strip().isdecimal()
            continue
        text = _digits(text)
        for number in _NUMBER.finditer(text):
            if mark := _clear_mark(number, text):
                clear[mark] += 1
            elif _is_doubtful(number, text):
                doubtful[number["mark"]] += 1
    if clear:
        return "," if clear[","] > clear["."] else "."
    if len(doubtful) == 1 and doubtful.total() + whole > 1:
        return "," if "." in doubtful else "."
    return None


def _written(text: str, counts: Counter[str], decimal: Mark | None) -> float | None:
    text = _digits(text)
    if _NO_PRICE.search(text):
        return None
    numbers = list(_NUMBER.finditer(text))
    for number in numbers:
        rest = text[number.end() :]
        if _MULTIPLE.match(rest) or ("A" <= rest[:1] <= "z" and rest[0].isalpha() and not _CURRENCY_BEHIND.match(rest)):
            return None
    prices = [_value(number, text, decimal) for number in numbers]
    if not prices:
        return None
    if len(prices) > 1:
        counts["price_ranges"] += 1
    return min(prices)


def _digits(text: str) -> str:
    """Digits of any script as ASCII, full-width and narrow signs as their plain ones."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate({0x66B: ".", 0x66C: ",", 0x2212: "-", 0xB7: "."})
        text = "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in text)
    return _ABBREVIATION.sub(" ", text)


def _is_doubtful(number: re.Match[str], text: str) -> bool:
    """Whether it may be one group of thousands or three decimals, as `1.299`."""
    grouped = number["grouped"]
    return bool(
        grouped
        and number["mark"] in (".", ",")
        and not number["cents"]
        and grouped.count(number["mark"]) == 1
        and not grouped.startswith("0")
        and not _NO_CENTS.match(text, number.end())
    )


def _clear_mark(number: re.Match[str], text: str) -> str | None:
    """The decimal mark that a number shows beyond doubt; None: it shows none."""
    if number["lakh"]:
        return "."
    if number["grouped"]:
        if number["cents"]:
            return number["cents"][0]
        if number["mark"] in (".", ",") and (
            number["grouped"].count(number["mark"]) > 1 or _NO_CENTS.match(text, number.end())
        ):
            return "," if number["mark"] == "." else "."
        return None
    mark = next((mark for mark in (".", ",") if mark in number["plain"]), None)
    return mark if mark and len(number["plain"].partition(mark)[2]) != 3 else None


def _value(number: re.Match[str], text: str, decimal: Mark | None) -> float:
    if number["lakh"]:
        return float(number["lakh"].replace(",", "") + (number["paise"] or ""))
    if number["plain"]:
        return float(number["plain"].replace(",", "."))
    grouped, mark = number["grouped"], number["mark"]
    one_mark = mark in (".", ",") and not number["cents"] and grouped.count(mark) == 1
    if one_mark and (grouped.startswith("0") or (_is_doubtful(number, text) and mark == (decimal or "."))):
        return float(grouped.replace(mark, "."))
    cents = (number["cents"] or "").replace(",", ".")
    return float(grouped.replace(mark, "") + cents)
