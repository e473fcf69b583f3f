"""Input of the right form with values that nobody expects: what mutated bytes seldom come to."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from benchmarks.faults.rubbish.answers import ANSWERS
from benchmarks.faults.rubbish.events import EVENTS
from benchmarks.faults.rubbish.metadata import AMAZON
from benchmarks.faults.rubbish.questions import question_targets
from benchmarks.faults.rubbish.recipes import OVERRIDES
from benchmarks.faults.rubbish.tables import ITEM_TABLES, PAIRS, as_parquet
from benchmarks.faults.rubbish.target import Target
from mmsc_cli.infer.new_item import NewItem
from mmsc_cli.recipe.loading import SOURCES
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.workspace.workspace import Workspace

searched = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,  # `timed` looks at the processor's time instead
    suppress_health_check=list(HealthCheck),
    database=None,
)

NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 10**400, 2**63, -(2**63) - 1, 1e308, 5e-324, 1e20])
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(st.characters(), max_size=20), st.just("x" * 2_000)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


Objects = st.SearchStrategy[dict[str, Any]]


def objects(usual: Mapping[str, Any]) -> Objects:
    """JSON objects with some of the usual values, some others in their places, and some unknown names."""
    fields = {name: st.one_of(st.just(value), VALUES) for name, value in usual.items()}
    known = st.fixed_dictionaries({}, optional=fields)
    return st.builds(lambda one, other: other | one, known, st.dictionaries(st.text(max_size=8), VALUES, max_size=2))


def lines(
    each: st.SearchStrategy[dict[str, Any]], write: Callable[[Any], str] = json.dumps
) -> st.SearchStrategy[bytes]:
    """Some such objects, one a line."""
    return st.lists(each, max_size=5).map(lambda rows: "\n".join(map(write, rows)).encode("utf-8", "backslashreplace"))


PRODUCT: dict[str, Any] = {
    "asin": "A",
    "title": "t",
    "description": ["d"],
    "brand": "b",
    "price": "$1",
    "category": ["c"],
    "categories": [["c"]],
    "imUrl": "https://x.example/a.jpg",
    "image": ["https://x.example/a.jpg"],
    "also_view": ["B"],
    "also_buy": ["B", "B"],
    "related": {"also_viewed": ["B"]},
}


@searched
@given(st.one_of(lines(objects(PRODUCT)), lines(objects(PRODUCT), repr)))
def test_products(content: bytes) -> None:
    AMAZON.timed(content)


ITEM: dict[str, Any] = dict.fromkeys(("item_id", "title", "description", "brand", "image_url", "image_path"), "x")
ITEM |= {"category": ["a"], "price": 1}


@searched
@given(lines(objects(ITEM)))
def test_rows_of_items(content: bytes) -> None:
    next(target for target in ITEM_TABLES if "jsonl" in target.name).timed(content)


@searched
@given(lines(objects({"a": "A", "b": "B", "co_view": 1, "co_purchase": 0.5})))
def test_rows_of_pairs(content: bytes) -> None:
    PAIRS.timed(content)


UTC = datetime.UTC
COLUMNS: dict[str, pa.Array] = {
    "texts": pa.array(["A", "B"]),
    "large texts": pa.array(["A", None], pa.large_string()),
    "numbers": pa.array([1, None]),
    "large numbers": pa.array([2**64 - 1, 0], pa.uint64()),
    "floats": pa.array([float("nan"), 1e300]),
    "half floats": pa.array([np.float16(1), np.float16("inf")], pa.float16()),
    "decimals": pa.array([decimal.Decimal("1.5"), None]),
    "truths": pa.array([True, None]),
    "nothing": pa.nulls(2),
    "bytes": pa.array([b"\xff", b"A"]),
    "days": pa.array([datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]),
    "moments": pa.array([datetime.datetime(2024, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
    "far moments": pa.array([2**62, -(2**62)], pa.timestamp("us")),
    "times": pa.array([datetime.time(1), None]),
    "spans": pa.array([1, 2], pa.duration("ns")),
    "lists": pa.array([["A"], None]),
    "lists of lists": pa.array([[["A"]], [[None]]]),
    "objects": pa.array([{"a": 1}, None]),
    "maps": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    "categories": pa.array(["A", None]).dictionary_encode(),
}


def columns(*names: str) -> st.SearchStrategy[bytes]:
    """Parquet files with these columns, of any type."""
    each = st.sampled_from(sorted(COLUMNS))
    return st.fixed_dictionaries(dict.fromkeys(names, each)).map(
        lambda chosen: as_parquet({name: COLUMNS[kind] for name, kind in chosen.items()})
    )


@searched
@given(columns(*ITEM))
def test_columns_of_items(content: bytes) -> None:
    next(target for target in ITEM_TABLES if "parquet" in target.name).timed(content)


@settings(searched, max_examples=25)
@given(columns("session", "item", "type", "time"))
def test_columns_of_events(content: bytes) -> None:
    next(target for target in EVENTS if "parquet" in target.name).timed(content)


def _setting_names(table: type[BaseModel], before: str = "") -> list[str]:
    names = []
    for name, field in table.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names += _setting_names(inner, f"{before}{name}.")
        names.append(before + name)
    return names


NAMES = [*_setting_names(Recipe), *(f"source.{name}" for kind in SOURCES.values() for name in kind.model_fields)]


@settings(searched, max_examples=300)
@given(st.sampled_from(NAMES), VALUES)
def test_values_of_settings(name: str, value: Any) -> None:
    written = json.dumps(value)
    OVERRIDES.timed(f"{name}={written}".encode())
    OVERRIDES.timed(f"{name}.{written}={written}".encode())


TOKEN = objects({"token": "A", "logprob": -0.5})
CHOICE = st.builds(
    lambda choice, message, content: choice | {"message": message, "logprobs": content},
    objects({"index": 0}),
    st.one_of(VALUES, objects({"role": "assistant", "content": "A"})),
    st.one_of(
        VALUES,
        st.fixed_dictionaries({"content": VALUES}),
        st.lists(TOKEN, max_size=4).map(lambda top: {"content": [{"top_logprobs": top}]}),
    ),
)
REPLY = st.one_of(
    VALUES,
    st.builds(
        lambda choices, usage: {"choices": choices, "usage": usage},
        st.one_of(VALUES, st.lists(CHOICE, max_size=2)),
        st.one_of(VALUES, objects({"total_tokens": 7})),
    ),
)


@searched
@given(st.sampled_from([200, 200, 400, 401, 422, 429, 500]), REPLY, st.integers(0, 400))
def test_answers_of_a_language_model(status: int, reply: Any, cut: int) -> None:
    whole = json.dumps(reply).encode()
    ANSWERS.timed(b"%d\n" % status + whole)
    ANSWERS.timed(b"%d\n" % status + whole[:cut])


@pytest.fixture(scope="module")
def asked(trained: Workspace) -> dict[str, Target]:
    """What `infer` reads, by its option."""
    return {target.name: target for target in question_targets(Path(trained.root))}


QUESTION: dict[str, Any] = dict.fromkeys(NewItem.model_fields, "x") | {"category": ["a"], "price": 1, "image_path": "x"}


@settings(searched, max_examples=15)
@given(content=lines(objects(QUESTION)))
def test_new_items(asked: dict[str, Target], content: bytes) -> None:
    asked["--new"].timed(content)


@pytest.mark.parametrize(("option", "examples"), [("--items-from", 60), ("--pairs", 60), ("--new", 15)])
def test_lines_that_are_none(asked: dict[str, Target], option: str, examples: int) -> None:
    first = asked[option].seeds()[0]
    assert asked[option].check(first).kept

    @settings(searched, max_examples=examples)
    @given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from(first.split(b"\n"))), max_size=6))
    def search(found: list[bytes]) -> None:
        asked[option].timed(b"\n".join(found))

    search()
