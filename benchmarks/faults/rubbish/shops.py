"""What a shop adds to answers: rules, kept columns, tables of two nights; and requests that a server is sent."""

from __future__ import annotations

import asyncio
import io
import json
import math
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import quote

import httpx
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from starlette.types import ASGIApp

from benchmarks.faults.rubbish.target import REFUSED, LostError, Tally, Target, scratch_file
from benchmarks.faults.rubbish.workspaces import small_index
from mmsc_cli.diff.answer_table import SCHEMA, AnswerTable, read_answers
from mmsc_cli.diff.kept_answers import KeptNight, read_kept, write_kept
from mmsc_cli.errors import InputError, MmscError
from mmsc_cli.index.kept_columns import Condition, KeptColumns, TextColumn, write_kept_columns
from mmsc_cli.index.shop_rules import RuleBook
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.infer.shop.rule_sources import RULE_COLUMNS, read_rules
from mmsc_cli.serve.app import build_app
from mmsc_cli.serve.current import Current
from mmsc_cli.serve.settings import ServeSettings

_KINDS = ("tsv", "csv", "jsonl", "json", "parquet")
_PATHS = (
    ("POST", "/v1/answers"),
    ("POST", "/v1/pairs"),
    ("PUT", "/v1/stock"),
    ("POST", "/v1/judgements"),
    ("GET", "/v1/search?"),
    ("GET", "/v1/judge?"),
    ("GET", "/v1/items/"),
)


def check_rules(content: bytes) -> Tally:
    """A file of rules is refused, or every answer is one of the index with a score that is a number."""
    index = small_index()
    try:
        rules = read_rules(scratch_file("rules.csv", content))
        book = RuleBook(index, rules)
    except MmscError as error:
        return _refused(error)
    recommender = Recommender(index, Path())
    recommender.book = book
    for outcome in recommender.answer(list(index.ids), "both", 3):
        assert not isinstance(outcome, MmscError)
        _check_answers(recommender, [(answer.item, answer.score) for answer in outcome])
    return Tally(1, 1).checked("files")


def check_kept_columns(content: bytes) -> Tally:
    """Kept columns are refused, or an item passes a filter only with a value that fulfils it."""
    index = small_index()
    kept = KeptColumns(scratch_file("kept.safetensors", content), index.ids)
    try:
        for name in kept.names:
            column = kept.column(name)
            if isinstance(column, TextColumn) and sorted(values := list(column.values)) != values:
                continue  # a stranger may as well have written other values
            for row in range(len(index)):
                value = column.of(row)
                try:
                    passing = kept.passes([Condition(name, "=", f"{value}")])[0][row]
                except InputError:
                    continue
                if value is not None and not passing:
                    raise LostError(f"{name}: an item with {value!r} is not found by it")
    except MmscError as error:
        return _refused(error)
    return Tally(1, 1).checked("files")


def check_answer_table(content: bytes) -> Tally:
    """A table of answers, whose form is the first byte, has ranks from 1 to k and known relations, or is refused."""
    kind = _KINDS[content[0] % len(_KINDS)] if content else "tsv"
    try:
        night = read_answers(str(scratch_file(f"answers.{kind}", content[1:])), 10)
    except MmscError as error:
        return _refused(error)
    ranks = night.answers["rank"].to_pylist()
    if not all(1 <= rank <= 10 for rank in ranks) or not all(map(night.has, night.answers["item"].to_pylist())):
        raise LostError(f"ranks {ranks}")
    return Tally(1, 1).checked("tables")


def check_kept_answers(content: bytes) -> Tally:
    """What was kept of two nights can be written again, or counts as nothing kept."""
    nights = read_kept(scratch_file("answers.parquet", content))
    if not nights:
        return REFUSED
    path = scratch_file("again.parquet", b"")
    write_kept(path, nights)
    if [night.table.answers.num_rows for night in read_kept(path)] != [
        night.table.answers.num_rows for night in nights
    ]:
        raise LostError("a night was lost")
    return Tally(1, 1).checked("files")


def request_target(workspace: Path) -> Target:
    """Requests to a server of a trained workspace; the first byte says which."""
    app = cache(lambda: build_app(ServeSettings(workspace), Current(workspace)))
    loop = asyncio.new_event_loop()

    def check(content: bytes) -> Tally:
        method, path = _PATHS[content[0] % len(_PATHS)] if content else _PATHS[0]
        body = content[1:]
        answer = loop.run_until_complete(_send(app(), method, path, body))
        if answer.status_code >= 500:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        json.loads(answer.content or b"{}")
        return REFUSED if answer.status_code >= 400 else Tally(1, 1).checked("requests")

    ids = list(Recommender.open(workspace).index.ids)[:2]
    bodies = [
        {"questions": [{"id": ids[0]}, {"basket": ids}], "k": 2, "relation": "complement"},
        {"pairs": [ids], "explain": True},
        {"ids": ids},
        {"a": ids[0], "b": ids[1], "label": "neither", "source": "random", "who": "x"},
    ]
    seeds = [bytes([number]) + json.dumps(body).encode() for number, body in enumerate(bodies)]
    seeds += [b"\x04q=tent&k=2", b"\x05who=x&n=1", b"\x06" + ids[0].encode() + b"/substitutes?k=2&min_score=1&novel=1"]
    return Target("requests", check, lambda: seeds)


async def _send(app: ASGIApp, method: str, path: str, content: bytes) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080") as client:
        if method == "GET":
            return await client.get(path + quote(content, safe="/?&=%+"))
        return await client.request(method, path, content=content, headers={"content-type": "application/json"})


def _check_answers(recommender: Recommender, answers: list[tuple[str, float | None]]) -> None:
    known = set(recommender.index.ids)
    for item, score in answers:
        if item not in known or not math.isfinite(score or 0):
            raise LostError(f"an answer that is none: {item} {score}")


def _refused(error: MmscError) -> Tally:
    if not error.message.strip():
        raise AssertionError("refused without a word") from error
    return REFUSED


def _rule_seeds() -> list[bytes]:
    lines = [
        ",".join(RULE_COLUMNS),
        "block,A,,B,,substitute,,",
        "pin,C,,A,,substitute,1,",
        "boost,,Camping,,,both,,1.5",
        "block,,Camping,,Camping,,,",
    ]
    return ["\n".join(lines).encode(), "\n".join(lines[:2]).replace(",", ";").encode()]


def _kept_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.safetensors"
        columns = {"colour": ["red", None, "blue", "red"], "weight": ["1", "2.5", None, "0"]}
        write_kept_columns(path, list(small_index().ids), columns)
        return [path.read_bytes()]


def _night() -> pa.Table:
    rows = [
        ("A", "substitute", 1, "B", 2.5, "Mat"),
        ("A", "complement", 1, "C", 1.0, ""),
        ("B", "substitute", 1, "A", 2, "x"),
    ]
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def _table_seeds() -> list[bytes]:
    table = _night()
    parquet, csv, tsv = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    pyarrow.csv.write_csv(table, csv)
    pyarrow.csv.write_csv(table, tsv, pyarrow.csv.WriteOptions(delimiter="\t", quoting_style="none"))
    rows = table.to_pylist()
    contents = [
        tsv.getvalue().replace(b'"', b""),
        csv.getvalue(),
        "\n".join(map(json.dumps, rows)).encode(),
        json.dumps({"answers": rows}).encode(),
        parquet.getvalue(),
    ]
    return [bytes([number]) + content for number, content in enumerate(contents)]


def _kept_answer_seeds() -> list[bytes]:
    table = AnswerTable("night", _night(), pa.array(["A", "B", "C"], pa.string()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.parquet"
        write_kept(path, [KeptNight("0" * 64, "2026-11-30", {"substitute.all": 0.5}, table)] * 2)
        return [path.read_bytes()]


SHOPS = (
    Target("rules", check_rules, _rule_seeds),
    Target("kept.safetensors", check_kept_columns, _kept_seeds),
    Target("tables of answers", check_answer_table, _table_seeds),
    Target("answers.parquet", check_kept_answers, _kept_answer_seeds),
)
