"""Answers for items the model has never seen."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.index import Index
from mmsc_cli.infer.new_items import NewItem, NewItemAnswers, parse_new_item
from mmsc_cli.relations import RELATIONS
from mmsc_cli.workspace import Workspace


def _cpu() -> torch.device:
    return torch.device("cpu")


@pytest.fixture(scope="module")
def answerer(trained: Workspace) -> NewItemAnswers:
    return NewItemAnswers.open(trained, _cpu)


def test_a_new_item_is_answered_as_if_it_were_a_cold_item_of_the_catalogue(
    answerer: NewItemAnswers, items: pa.Table, trained: Workspace
) -> None:
    index = Index.open(trained.path("index"))
    cold = [row for row, item in enumerate(items.to_pylist()) if item["split"] == "cold_test"]
    for row in cold:
        item = items.slice(row, 1).to_pylist()[0]
        copy = NewItem(
            **{field: item[field] for field in ("title", "description", "brand", "category")},
            price=None if math.isnan(item["price"]) else item["price"],
            image_path=item["image_path"] and str(trained.path(item["image_path"])),
        )
        for relation in RELATIONS:
            answered = {answer.item: answer.score for answer in answerer.answer(copy, "new", relation, len(index))}
            expected = index.scores(relation, np.array([row]))[0]
            others = [other for other in range(len(index)) if other != row]

            got = np.array([answered[index.ids[other]] for other in others])
            np.testing.assert_allclose(got, expected[others], rtol=0, atol=0.01 * np.abs(expected).max())


def test_a_copy_of_an_items_text_ranks_its_kind_on_top(answerer: NewItemAnswers, items: pa.Table) -> None:
    catalogue = items.to_pylist()
    kind = {item["item_id"]: tuple(item["category"]) for item in catalogue}
    many = {category for category, count in Counter(kind.values()).items() if category and count >= 5}
    asked = [item for item in catalogue if kind[item["item_id"]] in many]
    hits = [
        kind[answer.item] == kind[item["item_id"]]
        for item in asked[::4]
        for answer in answerer.answer(
            NewItem(title=item["title"], description=item["description"], brand=item["brand"]), "new", "substitute", 1
        )
    ]

    assert np.mean(hits) > 0.6


def test_the_image_counts(answerer: NewItemAnswers, items: pa.Table, trained: Workspace) -> None:
    item = next(item for item in items.to_pylist() if item["image_path"])
    text = NewItem(title=item["title"])
    both = NewItem(title=item["title"], image_path=str(trained.path(item["image_path"])))

    first, second = (list(answerer.answer(new, "new", "complement", 5)) for new in (text, both))

    assert [answer.rank for answer in second] == [1, 2, 3, 4, 5]
    assert [answer.score for answer in first] != [answer.score for answer in second]


def test_an_image_alone_is_enough(answerer: NewItemAnswers, items: pa.Table, trained: Workspace) -> None:
    path = next(path for path in items["image_path"].to_pylist() if path)

    assert len(list(answerer.answer(NewItem(image_path=str(trained.path(path))), "new", "both", 2))) == 4


@pytest.mark.parametrize("content", [None, b"no image"])
def test_an_image_that_cannot_be_used(answerer: NewItemAnswers, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "image.png"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InputError, match=r"image\.png"):
        list(answerer.answer(NewItem(title="x", image_path=str(path)), "new", "both", 1))


def test_the_answer_carries_the_new_items_id(answerer: NewItemAnswers) -> None:
    named = list(answerer.answer(NewItem(id="N1", title="camera"), "line 4", "substitute", 1))
    nameless = list(answerer.answer(NewItem(title="camera"), "line 4", "substitute", 1))

    assert (named[0].query, nameless[0].query) == ("N1", "line 4")


def test_the_same_item_twice_gives_the_same_answer(answerer: NewItemAnswers) -> None:
    item = NewItem(title="black camera", price=10)

    assert list(answerer.answer(item, "x", "both", 5)) == list(answerer.answer(item, "x", "both", 5))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{bad", r"stdin:3: Invalid JSON: .* column 2"),
        (r'{"title": "\ud800"}', r"stdin:3: Invalid JSON: "),
        ("[1]", r"stdin:3: Input should be an object"),
        ('{"colour": "red"}', r"stdin:3: colour: "),
        ('{"title": "x", "price": -1}', r"stdin:3: price: "),
        ('{"title": "x", "price": "cheap"}', r"stdin:3: price: "),
        ("{}", r"stdin:3: the item says nothing"),
    ],
)
def test_a_line_that_is_no_item_is_named(line: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_new_item("-", 3, line)

    assert caught.value.hint


def test_a_workspace_without_its_model(trained_copy: Workspace) -> None:
    trained_copy.path("model/model.safetensors").unlink()

    with pytest.raises(WorkspaceError, match="model is damaged"):
        NewItemAnswers.open(trained_copy, _cpu)
