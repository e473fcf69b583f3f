from __future__ import annotations

import asyncio
import errno
import gzip
import json
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from mmsc_cli.errors import GateError, InputError, UnreachableError
from mmsc_cli.label.llm import endpoint as endpoint_module
from mmsc_cli.label.llm.client import LabelClient
from mmsc_cli.label.llm.endpoint import Endpoint, base_url
from mmsc_cli.label.llm.prompt import Question
from mmsc_cli.label.llm.reply import Reply
from mmsc_cli.label.settings import LabelSettings
from mmsc_cli.tables.relations import CLASSES
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

GONE = "http://127.0.0.1:9"  # the discard port: nobody listens
FAST: dict[str, Any] = {"backoff": 0.001, "retries": 3, "timeout": 5, "max_failures": 100, "concurrency": 4}


def ask(
    endpoints: Sequence[str], count: int = 1, settings: dict[str, Any] | None = None
) -> tuple[LabelClient, dict[int, Reply]]:
    client = LabelClient(endpoints, "some-model", LabelSettings(**FAST | (settings or {})))
    questions = {n: Question(({"role": "user", "content": str(n)},), CLASSES) for n in range(count)}
    answers: dict[int, Reply] = {}

    def answered(key: int, answer: Reply | None) -> None:
        if answer:
            answers[key] = answer

    async def run() -> None:
        async with client:
            await client.ask_all(questions.items(), answered, Endpoint.ask)

    asyncio.run(run())
    return client, answers


def test_one_scored_token_per_question(fake_llm: Callable[..., Any], completion: Callable[..., Any]) -> None:
    url, seen = fake_llm(lambda request: completion({"A": 0.6, "B": 0.2, "x": 0.2}, "A"))
    client, answers = ask([url], 10)
    assert len(answers) == len(seen) == 10
    assert answers[3].by_letter == pytest.approx((0.75, 0.25, 0))
    assert answers[3].label_mass == pytest.approx(0.8)
    assert seen[0]["path"] == "/v1/chat/completions"
    sent = {name: seen[0][name] for name in ("model", "max_tokens", "temperature", "logprobs", "top_logprobs")}
    expected = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 20}
    assert sent == {"model": "some-model"} | expected
    assert (client.retried, client.failed, client.stopped) == (0, 0, None)


def test_servers_take_turns(fake_llm: Callable[..., Any], completion: Callable[..., Any]) -> None:
    servers = [fake_llm(lambda request: completion({"A": 1.0}, "A")) for _ in range(2)]
    ask([url for url, _ in servers], 10)
    assert [len(seen) for _, seen in servers] == [5, 5]


def test_another_server_takes_over(fake_llm: Callable[..., Any], completion: Callable[..., Any]) -> None:
    url, _ = fake_llm(lambda request: completion({"A": 1.0}, "A"))
    client, answers = ask([GONE, url], 6, {"concurrency": 1})
    assert len(answers) == 6
    assert client.retried > 0
    assert client.failed == 0


def test_without_logprobs_one_structured_vote(
    fake_llm: Callable[..., Any], completion: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    url, seen = fake_llm(lambda request: completion(None, "C"))
    client, answers = ask([url], 5, {"concurrency": 1})
    assert {answer.by_letter for answer in answers.values()} == {(0, 0, 1)}
    assert [("logprobs" in request) for request in seen] == [True, *[False] * 5]
    assert seen[-1]["structured_outputs"] == {"choice": ["A", "B", "C"]}
    assert "no log-probabilities" in caplog.text
    assert client.retried == 0


def test_a_server_that_refuses_logprobs_gets_the_structured_question(
    fake_llm: Callable[..., Any], completion: Callable[..., Any]
) -> None:
    def reply(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return (400, {}, b"top_logprobs is not supported") if "logprobs" in request else completion(None, "B")

    url, _ = fake_llm(reply)
    assert ask([url])[1][0].by_letter == (0, 1, 0)


def flaky(kind: str, completion: Callable[..., Any]) -> tuple[int, dict[str, str], bytes]:
    status, headers, body = completion({"A": 1.0}, "A")
    match kind:
        case "429":
            return 429, {"Retry-After": "0"}, b"slow down"
        case "500":
            return 500, {}, b"Internal Server Error"
        case "half a body":
            return status, {"Content-Length": str(len(body))}, body[:40]
        case "half of the JSON":
            return status, headers, body[:40]
        case "not JSON":
            return status, headers, b"<html>busy</html>"
        case "wrong label":
            wrong: tuple[int, dict[str, str], bytes] = completion({"E": 0.9, "yes": 0.1}, "E")
            return wrong
        case "no choices":
            return status, headers, json.dumps({"choices": []}).encode()
        case "nothing":
            return status, headers, b""
        case "no text":
            silent: tuple[int, dict[str, str], bytes] = completion({"": 1.0}, "")
            return silent
        case _:
            raise ConnectionAbortedError


FLAKY = ["429", "500", "half a body", "half of the JSON", "not JSON", "wrong label", "no choices", "nothing", "no text"]
FLAKY += ["dropped"]


@pytest.mark.parametrize("kind", FLAKY)
def test_a_passing_failure_is_retried_and_counted(
    kind: str, fake_llm: Callable[..., Any], completion: Callable[..., Any]
) -> None:
    replies = iter([flaky] * 2)

    def reply(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        bad = next(replies, None)
        good: tuple[int, dict[str, str], bytes] = completion({"A": 1.0}, "A")
        return bad(kind, completion) if bad else good

    url, seen = fake_llm(reply)
    client, answers = ask([url])
    assert answers[0].by_letter == (1, 0, 0)
    assert (client.retried, client.failed, len(seen)) == (2, 0, 3)


@pytest.mark.parametrize("kind", FLAKY)
def test_a_lasting_failure_is_given_up_and_never_guessed(
    kind: str, fake_llm: Callable[..., Any], completion: Callable[..., Any]
) -> None:
    url, seen = fake_llm(lambda request: flaky(kind, completion))
    client, answers = ask([url], 2, {"retries": 1})
    assert answers == {}
    assert (client.retried, client.failed, len(seen)) == (2, 2, 4)
    assert client.stopped is None


def test_a_slow_server_times_out_and_is_retried(fake_llm: Callable[..., Any], completion: Callable[..., Any]) -> None:
    def reply(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = completion({"A": 1.0}, "A")
        if len(seen) == 1:
            time.sleep(0.3)
        return status, headers, body

    url, seen = fake_llm(reply)
    client, answers = ask([url], 1, {"timeout": 0.1})
    assert len(answers) == 1
    assert client.retried >= 1


def test_max_failures_stops_with_what_there_is(fake_llm: Callable[..., Any], completion: Callable[..., Any]) -> None:
    def reply(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        good = int(request["messages"][0]["content"]) < 5
        answer: tuple[int, dict[str, str], bytes] = completion({"A": 1.0}, "A") if good else (500, {}, b"")
        return answer

    url, seen = fake_llm(reply)
    client, answers = ask([url], 1_000, {"max_failures": 3, "retries": 0, "concurrency": 2})
    assert sorted(answers) == [0, 1, 2, 3, 4]
    assert isinstance(client.stopped, GateError)
    assert client.stopped.message.startswith("3 questions failed, the last one because: http://127.0.0.1")
    assert len(seen) < 15


@pytest.mark.parametrize("kind", FLAKY)
def test_a_server_that_only_ever_fails_is_a_gate_that_failed(
    kind: str, fake_llm: Callable[..., Any], completion: Callable[..., Any]
) -> None:
    url, _ = fake_llm(lambda request: flaky(kind, completion))
    client, answers = ask([url], 50, {"max_failures": 2, "retries": 0})
    assert answers == {}
    assert isinstance(client.stopped, GateError)


def test_each_wait_is_twice_the_last(fake_llm: Callable[..., Any]) -> None:
    times: list[float] = []

    def reply(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        times.append(time.monotonic())
        return 503, {}, b""

    url, _ = fake_llm(reply)
    ask([url], 1, {"backoff": 0.05, "retries": 3})
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert all(wait >= 0.05 * 2**number for number, wait in enumerate(waits))
    assert len(waits) == 3


def test_a_question_too_long_is_given_up_at_once_and_others_go_on(
    fake_llm: Callable[..., Any], completion: Callable[..., Any]
) -> None:
    def reply(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if request["messages"][0]["content"] == "3":
            return 400, {}, b"This model's maximum context length is 2048 tokens."
        answer: tuple[int, dict[str, str], bytes] = completion({"A": 1.0}, "A")
        return answer

    url, _ = fake_llm(reply)
    client, answers = ask([url], 6)
    assert sorted(answers) == [0, 1, 2, 4, 5]
    assert (client.failed, client.retried, client.stopped) == (1, 0, None)


def test_vllm_is_asked_for_the_letters_alone(fake_llm: Callable[..., Any], completion: Callable[..., Any]) -> None:
    def reply(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if "prompt" in request:
            tokens = [7, 8] if request["prompt"] == " C" else [ord(request["prompt"][-1]) + len(request["prompt"])]
            return 200, {"Content-Type": "application/json"}, json.dumps({"tokens": tokens}).encode()
        answer: tuple[int, dict[str, str], bytes] = completion({"A": 0.001, "x": 0.9}, "x")
        return answer

    url, seen = fake_llm(reply, owned_by="vllm")
    _, answers = ask([url])
    assert seen[-1]["logprob_token_ids"] == [66, 67, 68]
    assert answers[0].label_mass == pytest.approx(0.001)
    assert {request["path"] for request in seen[:-1]} == {"/tokenize"}


def test_a_server_without_structured_output_is_read_as_text(
    fake_llm: Callable[..., Any], completion: Callable[..., Any]
) -> None:
    def reply(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if "structured_outputs" in request:
            return 400, {}, b"Unrecognized request argument supplied: structured_outputs"
        answer: tuple[int, dict[str, str], bytes] = completion(None, "B")
        return answer

    url, _ = fake_llm(reply)
    assert ask([url])[1][0].by_letter == (0, 1, 0)


def test_an_answer_that_cannot_be_kept_is_an_error_by_itself(
    fake_llm: Callable[..., Any], completion: Callable[..., Any]
) -> None:
    def full(key: int, answer: Reply | None) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def run() -> None:
        async with LabelClient([url], "some-model", LabelSettings(**FAST)) as client:
            questions = {n: Question(({"role": "user", "content": str(n)},), CLASSES) for n in range(9)}
            await client.ask_all(questions.items(), full, Endpoint.ask)

    url, _ = fake_llm(lambda request: completion({"A": 1.0}, "A"))
    with pytest.raises(OSError, match="No space left"):
        asyncio.run(run())


def test_nobody_there_is_unreachable() -> None:
    client, answers = ask([GONE], 50, {"max_failures": 2, "retries": 0})
    assert answers == {}
    assert isinstance(client.stopped, UnreachableError)
    assert f"no server answers at {GONE}/v1" in client.stopped.message


@pytest.mark.parametrize(("status", "hint"), [(401, "MMSC_API_KEY"), (404, "/v1/models"), (400, "--model")])
def test_a_refusal_stops_at_once(fake_llm: Callable[..., Any], status: int, hint: str) -> None:
    url, seen = fake_llm(lambda request: (status, {}, b"no\x1b[2J such model"))
    client, _ = ask([url], 50, {"concurrency": 1})
    assert len(seen) == 1
    assert isinstance(client.stopped, UnreachableError)
    assert f"answers {status}: no [2J such model" in client.stopped.message
    assert hint in (client.stopped.hint or "")


def test_the_key_comes_from_the_environment_and_is_never_logged(
    fake_llm: Callable[..., Any],
    completion: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", "other-secret")
    monkeypatch.setenv("MMSC_API_KEY", "secret-key")
    url, seen = fake_llm(lambda request: completion({"A": 1.0}, "A"))
    ask([url])
    assert seen[0]["authorization"] == "Bearer secret-key"
    assert "secret" not in caplog.text
    assert "secret" not in json.dumps(seen[0]["messages"])


def _always(reply: Any, request: dict[str, Any]) -> Any:
    return reply


def test_the_key_is_in_nothing_that_a_run_leaves_or_says(
    mmsc: Mmsc,
    prepared_copy: Workspace,
    fake_llm: Callable[..., Any],
    completion: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether all goes well or the server repeats the key in its refusal."""
    key = "sk-0123456789"
    monkeypatch.setenv("MMSC_API_KEY", key)
    refusal: Any = (401, {}, f"the key {key} is none of ours".encode())
    for code, reply in ((0, completion({"A": 1.0}, "A")), (4, refusal)):
        url, seen = fake_llm(partial(_always, reply))
        options = ["--model", f"model-{code}", "--endpoint", url, "--budget", "3", "--json", "-v"]
        ran = mmsc("label", *options, "-w", prepared_copy.root)
        assert ran.code == code, ran.err
        assert seen[0]["authorization"] == f"Bearer {key}"
        assert key not in ran.out + ran.err
    left = [path.read_bytes() for path in prepared_copy.root.rglob("*") if path.is_file()]
    assert not any(key.encode() in content for content in left)


def test_a_key_on_the_command_line_is_refused_and_not_repeated() -> None:
    for endpoint in ("http://user:password@host:8000", "http://host:8000/v1?key=password"):
        with pytest.raises(InputError, match="others would see") as caught:
            base_url(endpoint)
        assert "password@" not in caught.value.message
        assert "key=password" not in caught.value.message
        assert "MMSC_API_KEY" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("https://host/api/v1/", "https://host/api/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
    ],
)
def test_endpoints(endpoint: str, base: str) -> None:
    assert base_url(endpoint) == base


@pytest.mark.parametrize("endpoint", ["", "host:8000", "ftp://host", "http://", "http://host:port"])
def test_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(InputError, match="--endpoint"):
        base_url(endpoint)


@pytest.mark.parametrize(("value", "sent"), [("key-0123456\n", "key-0123456"), ("\r\n key-0123456", "key-0123456")])
def test_line_ends_around_a_key_are_no_part_of_it(
    fake_llm: Callable[..., Any],
    completion: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    sent: str,
) -> None:
    monkeypatch.setenv("MMSC_API_KEY", value)
    url, seen = fake_llm(lambda request: completion({"A": 1.0}, "A"))
    ask([url])
    assert seen[0]["authorization"] == f"Bearer {sent}"


@pytest.mark.parametrize("value", ["kéy-of-mine", "key\nof-mine", "\x1b[31mkey-of-mine", "“key-of-mine”"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MMSC_API_KEY", value)
    with pytest.raises(InputError, match="MMSC_API_KEY") as caught:
        LabelClient([GONE], "some-model", LabelSettings())
    assert "of-mine" not in caught.value.message + (caught.value.hint or "")


def refusal(words: str, status: int = 400, **more: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps({"error": {"message": words, **more}}).encode()


def test_a_server_that_gives_five_log_probabilities_is_used_as_far_as_it_goes(
    fake_llm: Callable[..., Any], completion: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def reply(request: dict[str, Any]) -> Any:
        if request.get("top_logprobs", 0) > 5:
            return refusal("Requested sample logprobs of 20, which is greater than max allowed: 5")
        return completion({"A": 0.7, "B": 0.2}, "A")

    url, seen = fake_llm(reply)
    client, answers = ask([url], 3, {"concurrency": 1})
    assert answers[0].by_letter == pytest.approx((7 / 9, 2 / 9, 0))
    assert answers[0].label_mass == pytest.approx(0.9)
    assert (len(seen), client.retried, client.failed) == (4, 0, 0)
    assert "5 log-probabilities" in caplog.text


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("temperature", "Unsupported value: 'temperature' does not support 0 with this model."),
    ],
)
def test_an_option_that_a_server_does_not_want_is_not_sent_again(
    fake_llm: Callable[..., Any], completion: Callable[..., Any], refused: str, words: str
) -> None:
    url, seen = fake_llm(lambda request: refusal(words) if refused in request else completion({"B": 1.0}, "B"))
    client, answers = ask([url], 8)
    assert {answer.by_letter for answer in answers.values()} == {(0, 1, 0)}
    assert (client.failed, client.retried, client.stopped) == (0, 0, None)
    sent = [refused in request for request in seen]
    assert sum(sent) <= 4  # those that were on their way together
    rest = [request for request in seen if refused not in request]
    assert all(("max_completion_tokens" in request) == (refused == "max_tokens") for request in rest)


@pytest.mark.parametrize("status", [402, 429])
def test_a_quota_that_is_used_up_ends_at_once_with_the_words_of_the_server(
    fake_llm: Callable[..., Any], status: int
) -> None:
    url, seen = fake_llm(lambda request: refusal("You exceeded your current quota", status, code="insufficient_quota"))
    client, _ = ask([url], 50, {"concurrency": 1})
    assert len(seen) == 1
    assert isinstance(client.stopped, UnreachableError)
    assert "You exceeded your current quota" in client.stopped.message
    assert "finished answers are kept" in (client.stopped.hint or "")


def test_thinking_is_switched_off_at_vllm_and_nowhere_else(
    fake_llm: Callable[..., Any], completion: Callable[..., Any]
) -> None:
    def reply(strict: bool, request: dict[str, Any]) -> Any:
        if "prompt" in request:
            return 404, {}, b""
        if strict and "chat_template_kwargs" in request:
            return refusal("chat_template_kwargs is not supported with this tokenizer")
        return completion({"A": 1.0}, "A")

    for owner, strict, expected in (("vllm", False, [True]), ("vllm", True, [True, False]), ("openai", False, [False])):
        url, seen = fake_llm(partial(reply, strict), owned_by=owner)
        assert len(ask([url])[1]) == 1
        questions = [request for request in seen if "messages" in request]
        assert ["chat_template_kwargs" in request for request in questions] == expected
        if expected[0]:
            assert questions[0]["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("length", [True, False])
def test_a_reply_of_more_than_a_mebibyte_is_not_read(fake_llm: Callable[..., Any], length: bool) -> None:
    body = b" " * (3 * 2**20)
    headers = {} if length else {"Transfer-Encoding": "chunked", "Content-Length": ""}
    for status in (200, 400):
        url, _ = fake_llm(lambda request, status=status: (status, headers, body if length else chunked(body)))
        client, answers = ask([url], 2, {"retries": 0, "max_failures": 1, "concurrency": 1})
        assert answers == {}
        assert isinstance(client.stopped, GateError)
        assert "more than 1,048,576 bytes" in client.stopped.message


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def test_a_compressed_reply_is_not_unpacked(fake_llm: Callable[..., Any]) -> None:
    bomb = gzip.compress(b" " * (64 * 2**20))
    url, seen = fake_llm(lambda request: (200, {"Content-Encoding": "gzip"}, bomb))
    client, _ = ask([url], 1, {"retries": 0})
    assert client.failed == 1
    assert seen[0]["accept_encoding"] == "identity"


def test_an_error_in_place_of_a_reply_is_shown(fake_llm: Callable[..., Any]) -> None:
    url, _ = fake_llm(lambda request: refusal("Provider returned error", 200))
    client, _ = ask([url], 1, {"retries": 0, "max_failures": 1})
    assert client.stopped is not None
    assert "Provider returned error" in client.stopped.message


@pytest.mark.parametrize("length_is_said", [True, False])
def test_a_reply_without_end_is_not_read_to_its_end(
    fake_llm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, length_is_said: bool
) -> None:
    assert endpoint_module.LARGEST_REPLY == 1 << 20
    monkeypatch.setattr(endpoint_module, "LARGEST_REPLY", 50_000)
    headers = {} if length_is_said else {"Content-Length": ""}
    url, _ = fake_llm(lambda request: (200, headers, b'{"choices": [' + b" " * 2_000_000))
    client, answers = ask([url], 3, {"max_failures": 1, "retries": 0, "concurrency": 1})

    assert answers == {}
    assert client.stopped is not None
    assert "more than 50,000 bytes" in client.stopped.message
