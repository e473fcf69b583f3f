"""What a language model's server may answer: any status, any waiting time asked for, any body."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import openai
import pyarrow as pa

from benchmarks.faults.rubbish.target import REFUSED, LostError, Tally, Target
from mmsc_cli.label.llm.interview import interview
from mmsc_cli.label.llm.servers import Servers
from mmsc_cli.label.settings import LabelSettings
from mmsc_cli.tables.items import ITEM_SCHEMA

_TITLES = ("Tent", "Mat", "Tent, large")
_EMPTY = {"description": "", "brand": "", "category": ["Camping"], "price": float("nan"), "split": "warm"}
_ITEMS = pa.Table.from_pylist(
    [{"item_id": item_id, "title": title} | _EMPTY for item_id, title in zip("ABC", _TITLES, strict=True)],
    schema=ITEM_SCHEMA,
)
_A, _B = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
_SETTINGS = LabelSettings(retries=0, backoff=0, concurrency=2, max_failures=100, timeout=1)
_LINE = b"\n"


def check_answer(content: bytes) -> Tally:
    """Every pair gets a label that is a distribution, or counts as failed.

    The first line of the input is the status and, behind a blank, the seconds that the server asks to wait for; the
    rest is the body of every answer.
    """
    head, _, body = content.partition(_LINE)
    status, _, wait = head.decode("latin-1").partition(" ")
    number = int(status) if status.isascii() and status.isdecimal() and 200 <= int(status[:3]) <= 599 else 200
    headers = {b"Retry-After": wait.encode("latin-1")} if wait.isprintable() else {}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(int(str(number)[:3]), headers=headers, content=body)

    def client(**options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(answer), timeout=1)

    with patch.object(openai, "DefaultAsyncHttpxClient", client):
        servers = Servers("model", _SETTINGS, endpoints=["http://llm.example"])
        found = interview(_ITEMS, _A, _B, servers)
    json.dumps(found.counts, allow_nan=False)
    if found.counts["tokens"] < 0:
        raise LostError(f"{found.counts['tokens']} tokens")
    shares = found.opinions.mean()
    if not (np.isfinite(shares).all() and (shares >= 0).all() and np.allclose(shares.sum(axis=1), 1, atol=1e-5)):
        raise LostError(f"not distributions: {shares.tolist()}")
    if found.stopped is not None:
        return REFUSED
    return Tally(len(_A), len(found.opinions), found.counts["failed"]).checked("pairs")


def _reply(text: str | None, likeliest: list[tuple[str, Any]] | None) -> bytes:
    top = None if likeliest is None else [{"token": token, "logprob": value} for token, value in likeliest]
    logprobs = None if top is None else {"content": [{"token": "A", "logprob": 0, "top_logprobs": top}]}
    choice = {"message": {"role": "assistant", "content": text}, "logprobs": logprobs}
    return json.dumps({"choices": [choice], "usage": {"total_tokens": 100}}).encode()


def answer_seeds() -> list[bytes]:
    """Answers of all three kinds, and refusals."""
    return [
        b"200\n" + _reply("A", [("A", -0.1), (" B", -3.0), ("the", -4.0), ("D", float("-inf"))]),
        b"200\n" + _reply("B", None),
        b"200\n" + _reply("B is my answer", None),
        b"200\n" + _reply(None, []),
        b"429 1\n{}",
        b'400\n{"error": {"message": "logprobs are not supported"}}',
        b'400\n{"error": {"message": "the context length is exceeded"}}',
        b"500\n<html>",
        b"401\nkey",
    ]


ANSWERS = Target("answers of a language model", check_answer, answer_seeds)
