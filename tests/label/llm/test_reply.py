from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from numpy.testing import assert_allclose

from mmsc_cli.label.llm.reply import BadReplyError, NoLogprobsError, read_choice, read_logprobs


def test_letters_are_renormalised_and_their_share_is_the_mass(completion: Callable[..., Any]) -> None:
    _, _, body = completion({"A": 0.4, " A": 0.1, "B": 0.25, "The": 0.2, "a": 0.05}, "A")
    answer = read_logprobs(json.loads(body))
    assert_allclose(answer.by_letter, [0.5 / 0.75, 0.25 / 0.75, 0])
    assert answer.label_mass == pytest.approx(0.75)


def test_no_letter_among_the_tokens_is_no_answer(completion: Callable[..., Any]) -> None:
    _, _, body = completion({"The": 0.9, "Maybe": 0.1}, "The")
    with pytest.raises(BadReplyError, match=r"no option letter.*'The'"):
        read_logprobs(json.loads(body))


def test_a_sound_reply_without_logprobs(completion: Callable[..., Any]) -> None:
    _, _, body = completion(None, " B.")
    with pytest.raises(NoLogprobsError):
        read_logprobs(json.loads(body))
    assert read_choice(json.loads(body)).by_letter == (0, 1, 0)


@pytest.mark.parametrize("text", ["E", "", "A or B", "AB", "substitute", None, 3, "a"])
def test_a_text_that_is_not_a_letter_is_never_guessed(completion: Callable[..., Any], text: object) -> None:
    _, _, body = completion(None, text)
    with pytest.raises(BadReplyError):
        read_choice(json.loads(body))


@pytest.mark.parametrize(
    "reply",
    [
        None,
        [],
        "text",
        {},
        {"choices": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        {"choices": [{"logprobs": {"content": [{}]}}]},
        {"choices": [{"logprobs": {"content": [{"top_logprobs": None}]}}]},
        {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": 1, "logprob": 0}]}]}}]},
        {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "A", "logprob": math.nan}]}]}}]},
        {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "A", "logprob": "x"}]}]}}]},
    ],
)
def test_replies_of_any_other_shape_are_refused(reply: object) -> None:
    with pytest.raises(BadReplyError):
        read_logprobs(reply)


def reply_with(top: list[tuple[str, Any]], content: Any = "A") -> dict[str, Any]:
    tokens = [{"token": token, "logprob": logprob} for token, logprob in top]
    return {"choices": [{"message": {"content": content}, "logprobs": {"content": [{"top_logprobs": tokens}]}}]}


@pytest.mark.parametrize("nothing", [None, -9999.0, math.nan, -math.inf])
def test_a_token_without_a_probability_is_passed_over(nothing: float | None) -> None:
    answer = read_logprobs(reply_with([("A", math.log(0.6)), ("B", math.log(0.2)), ("C", nothing)]))
    assert answer.by_letter == pytest.approx((0.75, 0.25, 0))


def test_the_blank_before_a_letter_may_be_written_as_tokenizers_do() -> None:
    answer = read_logprobs(reply_with([("\u0120A", math.log(0.6)), ("\u2581B", math.log(0.2))]))
    assert answer.by_letter == pytest.approx((0.75, 0.25, 0))


def test_tokens_that_do_not_show_their_text_are_no_log_probabilities() -> None:
    with pytest.raises(NoLogprobsError):
        read_logprobs(reply_with([("token_id:32", 0.0), ("token_id:33", -1.0)]))


def test_a_text_in_parts_is_read_as_a_whole() -> None:
    parts = [{"type": "text", "text": "A"}]
    assert read_choice({"choices": [{"message": {"content": parts}}]}).by_letter == (1, 0, 0)


def test_a_model_that_thinks_aloud_is_told_apart() -> None:
    with pytest.raises(BadReplyError, match="thinks aloud"):
        read_choice({"choices": [{"message": {"content": "<think>\n"}}]})
