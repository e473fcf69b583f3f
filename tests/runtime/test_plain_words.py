"""What is printed reads like a sentence."""

from __future__ import annotations

import pytest

from mmsc_cli.runtime.plain_words import counted, in_plain_words


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [(0, "pair", "0 pairs"), (1, "pair", "1 pair"), (2918, "pair", "2,918 pairs"), (2, "query", "2 queries")],
)
def test_one_is_singular(number: int, noun: str, words: str) -> None:
    assert counted(number, noun) == words


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Input should be a valid integer, unable to parse string as an integer", "must be a whole number"),
        ("Extra inputs are not permitted", "is not known"),
        ("String should have at most 40 characters", "must have at most 40 characters"),
        ("Tuple should have at most 2 items after validation, not 3", "must have at most 2 items"),
    ],
)
def test_the_jargon_of_pydantic_is_not_shown(message: str, words: str) -> None:
    assert in_plain_words(message) == words
