"""Reading a reply to a one-letter question: a distribution over the letters, or an error, never a guess."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mmsc_cli.label.llm.prompt import LETTERS


class BadReplyError(ValueError):
    """A reply that answers nothing: broken, or none of the letters in it."""


class NoLogprobsError(ValueError):
    """A reply without log-probabilities, from a server that does not give them."""


@dataclass(frozen=True)
class Answer:
    """Probabilities by letter, summing to one, and the share of the whole distribution that fell on letters.

    `label_mass` is 1 where the server gives no log-probabilities: it cannot be known there.
    """

    by_letter: tuple[float, ...]
    label_mass: float


def read_logprobs(reply: object) -> Answer:
    """Read the answer from the log-probabilities of the one generated token.

    A letter may come as several tokens ("A", " A"): their probabilities add up.

    Raises:
        NoLogprobsError: the reply is sound but has no log-probabilities.
        BadReplyError: it is not a chat completion, or no letter is among the likeliest tokens.
    """
    choice = _choice(reply)
    logprobs = choice.get("logprobs")
    positions = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not positions:
        raise NoLogprobsError
    mass = dict.fromkeys(LETTERS, 0.0)
    try:
        for token in positions[0]["top_logprobs"]:
            letter, logprob = token["token"].strip(), float(token["logprob"])
            if letter in mass and not math.isnan(logprob):
                mass[letter] += math.exp(min(logprob, 0.0))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadReplyError(f"log-probabilities not understood: {error!r}") from error
    total = sum(mass.values())
    if not total > 0:
        raise BadReplyError(f"no option letter among the likeliest tokens ({_shown(choice)})")
    return Answer(tuple(value / total for value in mass.values()), min(total, 1.0))


def read_choice(reply: object) -> Answer:
    """Read the answer from the generated text, which must be one letter: all probability on it.

    Raises:
        BadReplyError: it is not a chat completion, or its text is not one of the letters.
    """
    choice = _choice(reply)
    text = choice.get("message", {}).get("content")
    letter = text.strip(" \t\n.:()\"'*`") if isinstance(text, str) else ""
    if letter not in LETTERS:
        raise BadReplyError(f"the answer is none of {', '.join(LETTERS)} ({_shown(choice)})")
    return Answer(tuple(float(letter == option) for option in LETTERS), 1.0)


def _choice(reply: object) -> dict[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message", {}), dict):
        raise BadReplyError("not a chat completion")
    return choice


def _shown(choice: dict[str, Any]) -> str:
    text = choice.get("message", {}).get("content")
    return f"text: {text[:20]!r}" if isinstance(text, str) else "no text"
