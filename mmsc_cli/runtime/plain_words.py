"""Words as a person reads them: counted nouns, sizes, and messages of the library that checks values (pydantic)."""

from __future__ import annotations

import re

_PLAIN_WORDS = (
    (r"Value error, ", ""),
    (r"Input should be greater than or equal to ", "must be at least "),
    (r"Input should be less than or equal to ", "must be at most "),
    (r"Input should be greater than ", "must be above "),
    (r"Input should be less than ", "must be below "),
    (r"Input should be a valid integer.*", "must be a whole number"),
    (r"Input should be a valid number.*", "must be a number"),
    (r"Input should be a valid string", "must be a text"),
    (r"Input should be a valid boolean.*", "must be true or false"),
    (r"Input should be a valid (?:list|tuple)", "must be a list"),
    (r"Input should be (?:a valid dictionary|an object).*", "must be a table"),
    (r"Input should be ", "must be "),
    (r"Extra inputs are not permitted", "is not known"),
    (r"Field required", "is missing"),
    (r"String should have at least 1 character", "must not be empty"),
    (r"String should ", "must "),
    (r"(?:List|Tuple|Set) should (.*?)(?: after validation)?, not \d+", r"must \1"),
    (r"Invalid JSON: .*", "is not JSON"),
)


def in_plain_words(message: str) -> str:
    """A message as a person reads it."""
    for jargon, words in _PLAIN_WORDS:
        message = re.sub(jargon, words, message)
    return message


def counted(number: int, noun: str) -> str:
    """A number and its noun, given in the singular: `1 pair`, `2,918 pairs`, `0 queries`."""
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun}"


def sized(number: int) -> str:
    """Return a number of bytes as `0 B`, `3.4 KiB`, `12.0 GiB`."""
    if number < 1024:
        return f"{number} B"
    power = min(3, max(0, (number.bit_length() - 11) // 10))
    return f"{number / 1024 ** (power + 1):,.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power]}"
