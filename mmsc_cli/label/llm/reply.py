"""Reading a reply to a one-letter question: a distribution over the letters, or an error, never a guess."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mmsc_cli.label.llm.prompt import LETTERS

_WORD_STARTS = "\u0120\u2581 \t\n"  # what tokenizers of the GPT and the SentencePiece kind write for a blank


class BadReplyError(ValueError):
    """A reply that answers nothing: broken, or none of the letters in it."""


class NoLogprobsError(ValueError):
    """A reply without log-probabilities of readable tokens."""


@dataclass(frozen=True)
class Reply:
    """Probabilities by letter, summing to one, and the fraction of the whole distribution that fell on letters.

    `label_mass` is 1 where the server gives no log-probabilities: it cannot be known there.
    """

    by_letter: tuple[float, ...]
    label_mass: float


def read_logprobs(reply: object) -> Reply:
    """Read the answer from the log-probabilities of the one generated token.

    A letter may come as several tokens ("A", " A"): their probabilities add up. A token without a number
    is passed over.

    Raises:
        NoLogprobsError: the reply is sound, but has no log-probabilities, or of tokens that do not show their text.
        BadReplyError: it is not a chat completion, or no letter is among the likeliest tokens.
    """
    choice = _choice(reply)
    logprobs = choice.get("logprobs")
    positions = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not positions:
        raise NoLogprobsError
    mass = dict.fromkeys(LETTERS, 0.0)
    try:
        tokens = [(token["token"].strip(_WORD_STARTS), token["logprob"]) for token in positions[0]["top_logprobs"]]
        for letter, logprob in tokens:
            if letter in mass and logprob is not None and not math.isnan(logprob):
                mass[letter] += math.exp(min(logprob, 0.0))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadReplyError(f"log-probabilities not understood: {error!r}") from error
    total = sum(mass.values())
    if total > 0:
        return Reply(tuple(value / total for value in mass.values()), min(total, 1.0))
    if tokens and not {token for token, _ in tokens} & set(LETTERS) and _text(choice) in LETTERS:
        raise NoLogprobsError
    raise BadReplyError(f"no option letter among the likeliest tokens ({_shown(choice)})")


def read_choice(reply: object) -> Reply:
    """Read the answer from the generated text, which must be one letter: all probability on it.

    Raises:
        BadReplyError: it is not a chat completion, or its text is not one of the letters.
    """
    choice = _choice(reply)
    letter = _text(choice).strip(" \t\n.:()\"'*`")
    if letter not in LETTERS:
        raise BadReplyError(f"the answer is none of {', '.join(LETTERS)} ({_shown(choice)})")
    return Reply(tuple(float(letter == option) for option in LETTERS), 1.0)


def read_text(reply: object) -> str:
    """Read the generated text.

    Raises:
        BadReplyError: it is not a chat completion, or has no text.
    """
    text = _text(_choice(reply))
    if not text:
        raise BadReplyError("no text")
    return text


def _choice(reply: object) -> dict[str, Any]:
    if isinstance(reply, dict) and reply.get("error"):
        raise BadReplyError(f"an error in place of a reply: {str(reply['error'])[:200]}")
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message", {}), dict):
        raise BadReplyError("not a chat completion")
    return choice


def _text(choice: dict[str, Any]) -> str:
    """The text of a reply; some servers send it in parts."""
    content = choice.get("message", {}).get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "".join(text for text in texts if isinstance(text, str))


def _shown(choice: dict[str, Any]) -> str:
    text = _text(choice)
    if "<think" in text[:20]:
        return f"text: {text[:20]!r}; the model thinks aloud: switch that off, or take another model"
    return f"text: {text[:20]!r}" if text else "no text"
