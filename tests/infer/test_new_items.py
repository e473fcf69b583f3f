"""Answers for items the model has never seen."""

from __future__ import annotations

import functools
import math
import shutil
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from mmsc_cli.errors import InputError, MmscError, WorkspaceError
from mmsc_cli.files.settings import DownloadSettings
from mmsc_cli.index.filters import Filters
from mmsc_cli.infer.answers import Answer
from mmsc_cli.infer.new_item import NewItem, parse_new_item
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def opened(trained: Workspace) -> Recommender:
    return Recommender.open(trained.root)


def _answers(opened: Recommender, item: NewItem, relation: Any, k: int, **more: Any) -> list[Answer]:
    (outcome,) = opened.answer_new([item], relation, k, **more)
    if isinstance(outcome, MmscError):
        raise outcome
    return outcome


def test_what_says_the_same_is_the_first_substitute_and_no_complement(opened: Recommender, items: pa.Table) -> None:
    met = [row for row in range(len(items)) if opened.index.known.lengths()[row]]
    for item in items.take(met[::30]).to_pylist():
        fields = ("title", "description", "brand", "category", "image_path")
        told = {field: item[field] for field in fields if item[field]}
        if "image_path" in told:
            told["image_path"] = str(opened._root / told["image_path"])
        # Without its picture it says the same too.
        for twin in (parse_new_item(told, "twin"), parse_new_item(told | {"image_path": None}, "twin")):
            substitutes, complements = (_answers(opened, twin, relation, 20) for relation in RELATIONS)

            assert item["item_id"] in [answer.item for answer in substitutes if answer.score == substitutes[0].score]
            assert item["item_id"] not in [answer.item for answer in complements]


def test_a_new_item_is_answered_nearly_as_well_as_a_cold_item_of_the_catalogue(
    items: pa.Table, trained: Workspace
) -> None:
    """Ask the judged index about items that it never saw a pair of: by their rows, and by what they say."""
    opened = Recommender.open(trained.root, judged=True)
    cold = items.filter(pc.equal(items["split"], "cold_test"))
    told = [
        NewItem(
            **{field: item[field] for field in ("title", "description", "brand", "category")},
            price=None if math.isnan(item["price"]) else item["price"],
            image_path=item["image_path"] and str(trained.path(item["image_path"])),
        )
        for item in cold.to_pylist()
    ]
    for relation in RELATIONS:
        by_row = list(opened.answer(cold["item_id"].to_pylist(), relation, 20, overlap=True))
        by_content = list(opened.answer_new(told, relation, 20, overlap=True))
        shared = [
            len({answer.item for answer in old} & {answer.item for answer in new}) / 20
            for old, new in zip(by_row, by_content, strict=True)
            if isinstance(old, list) and isinstance(new, list)
        ]
        assert len(shared) == len(cold)
        assert np.mean(shared) > 0.5


def test_a_copy_of_an_items_text_ranks_its_kind_on_top(opened: Recommender, items: pa.Table) -> None:
    catalogue = items.to_pylist()
    kind = {item["item_id"]: tuple(item["category"]) for item in catalogue}
    many = {category for category, count in Counter(kind.values()).items() if category and count >= 5}
    asked = [item for item in catalogue if kind[item["item_id"]] in many]
    hits = [
        kind[answer.item] == kind[item["item_id"]]
        for item in asked[::4]
        for answer in _answers(
            opened,
            NewItem(title=item["title"], description=item["description"], brand=item["brand"]),
            "substitute",
            1,
        )
    ]

    assert np.mean(hits) > 0.6


def test_the_image_counts(opened: Recommender, items: pa.Table, trained: Workspace) -> None:
    item = next(item for item in items.to_pylist() if item["image_path"])
    text = NewItem(title=item["title"])
    both = NewItem(title=item["title"], image_path=str(trained.path(item["image_path"])))

    first, second = (_answers(opened, new, "complement", 5) for new in (text, both))

    assert [answer.rank for answer in second] == [1, 2, 3, 4, 5]
    assert [answer.score for answer in first] != [answer.score for answer in second]
    assert ({answer.modalities for answer in first}, {answer.modalities for answer in second}) == (
        {"text"},
        {"text+image"},
    )


def test_an_image_alone_is_enough(opened: Recommender, items: pa.Table, trained: Workspace) -> None:
    path = next(path for path in items["image_path"].to_pylist() if path)

    assert len(_answers(opened, NewItem(image_path=str(trained.path(path))), "both", 2)) == 4


@pytest.mark.parametrize("content", [None, b"no image"])
def test_an_image_that_cannot_be_used(
    opened: Recommender, tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "image.png"
    if content is not None:
        path.write_bytes(content)
    items = [
        NewItem(id="N1", title="black camera", image_path=str(path)),
        NewItem(image_path=str(path)),
        NewItem(price=3),
    ]
    first, second, third = opened.answer_new(items, "substitute", 1)

    assert isinstance(first, list)
    assert first[0].modalities == "text"
    assert "N1: answered without its image" in caplog.text
    assert isinstance(second, InputError)
    assert "image.png" in second.message
    assert isinstance(third, InputError)
    assert "knows nothing" in third.message  # a price alone is like no item's content


def test_an_image_by_address(opened: Recommender, items: pa.Table, trained: Workspace, tmp_path: Path) -> None:
    path = next(path for path in items["image_path"].to_pylist() if path)
    shutil.copy(trained.path(path), tmp_path / "image.png")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        asked = [
            NewItem(image_url=f"{address}/image.png"),
            NewItem(title="black camera", image_url=f"{address}/none.png"),
        ]
        guarded = list(opened.answer_new(asked, "substitute", 2))
        free = Recommender.open(trained.root)
        free.reads_new_items_with(lambda: torch.device("cpu"), DownloadSettings(allow_private=True, allow_http=True))
        fetched = list(free.answer_new(asked, "substitute", 2))
        server.shutdown()

    assert isinstance(guarded[0], InputError)
    assert "not a public address" in guarded[0].message or "127.0.0.1" in guarded[0].message
    local = _answers(opened, NewItem(id="item 1", image_path=str(trained.path(path))), "substitute", 2)
    assert isinstance(fetched[0], list)
    assert [answer.item for answer in fetched[0]] == [answer.item for answer in local]
    assert {answer.modalities for answer in fetched[0]} == {"image"}
    assert isinstance(fetched[1], list)
    assert fetched[1][0].modalities == "text"


def test_the_answer_carries_the_new_items_id(opened: Recommender) -> None:
    named, nameless = opened.answer_new([{"id": "N1", "title": "camera"}, {"title": "camera"}], "substitute", 1)

    assert isinstance(named, list)
    assert isinstance(nameless, list)
    assert (named[0].query, nameless[0].query) == ("N1", "item 2")


def test_a_mapping_that_is_no_item(opened: Recommender) -> None:
    with pytest.raises(InputError, match="item 2: colour: "):
        list(opened.answer_new([{"title": "camera"}, {"colour": "red"}]))


def test_an_item_of_unknown_words_is_not_answered_at_random(opened: Recommender) -> None:
    with pytest.raises(InputError, match="knows nothing"):
        _answers(opened, NewItem(title="zzqx vvkw"), "both", 3)


def test_the_same_item_gives_the_same_answer_alone_and_among_others(opened: Recommender) -> None:
    item = NewItem(title="black camera", price=10)
    many = [NewItem(title="tent"), item, NewItem(title="pan lid", brand="Mobol"), item]
    outcomes = list(opened.answer_new(many, "both", 5, names=["a", "x", "b", "x"]))
    (alone,) = opened.answer_new([item], "both", 5, names=["x"])

    assert outcomes[1] == outcomes[3]
    assert isinstance(alone, list)
    assert isinstance(outcomes[1], list)
    assert [answer.item for answer in alone] == [answer.item for answer in outcomes[1]]
    assert [answer.score for answer in alone] == pytest.approx([answer.score for answer in outcomes[1]], rel=1e-4)


def test_filters_read_what_a_new_item_says(opened: Recommender, items: pa.Table) -> None:
    known = next(item for item in items.to_pylist() if item["category"] and item["price"] > 0)
    new = NewItem(title=known["title"], category=known["category"], price=known["price"])
    by_id = {item["item_id"]: item for item in items.to_pylist()}

    alike = _answers(opened, new, "substitute", 10, filters=Filters(category="same", price_within=0.3))
    others = _answers(opened, new, "complement", 10, filters=Filters(category="other"))

    assert alike
    for answer in alike:
        assert by_id[answer.item]["category"] == known["category"]
        assert abs(by_id[answer.item]["price"] - known["price"]) <= 0.3 * known["price"] + 1e-4
    assert all(by_id[answer.item]["category"] not in ([], known["category"]) for answer in others)


def test_a_new_item_is_explained_by_its_look_alikes(opened: Recommender, items: pa.Table) -> None:
    (known,) = items.slice(7, 1).to_pylist()
    answers = _answers(opened, NewItem(title=known["title"]), "substitute", 5, explain=True)
    whys = [answer.why for answer in answers if answer.why]

    assert len(whys) == 5
    assert all(why.strength is None and why.label is None and why.query_gate is None for why in whys)
    assert any(why.shared_neighbours and why.shared for why in whys)
    assert any("like the new one were seen with it" in why.summary for why in whys)
    assert max(why.text_similarity or 0 for why in whys) > 0.2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{bad", r"stdin:3: not JSON: .* column 2"),
        ("Espresso machine", r"stdin:3: not JSON: "),
        ("[1]", r"stdin:3: not a JSON object"),
        ('{"colour": "red"}', r"stdin:3: colour: there is no such field"),
        ('{"title": "x", "price": -1}', r"stdin:3: price: -1 is not a price"),
        ('{"title": "x", "price": "cheap"}', r"stdin:3: price: 'cheap' is not a price"),
        ('{"title": "x", "price": 1e999}', r"stdin:3: price: "),
        ('{"title": {"a": 1}}', r"stdin:3: title: not a text"),
        ('{"title": "x", "category": {"a": 1}}', r"stdin:3: category: not a text"),
        ("[" * 100_000, r"stdin:3: not JSON: "),
        ('{"id": "N", "title": " "}', r"stdin:3: the item says nothing"),
        ("{}", r"stdin:3: the item says nothing"),
    ],
)
def test_a_line_that_is_no_item_is_named(line: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_new_item(line, "stdin:3")

    assert caught.value.hint


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ('{"id": 77, "title": "Pot", "brand": null, "category": null, "price": null}', NewItem(id="77", title="Pot")),
        ('{"item_id": "N1", "Title": "Pot", "group": "g", "split": "warm"}', NewItem(id="N1", title="Pot")),
        ('{"title": "Pot", "price": "49.99 USD"}', NewItem(title="Pot", price=49.99)),
        ('{"title": "Pot", "price": "19,90 €"}', NewItem(title="Pot", price=19.9)),
        ('{"title": "Pot", "price": NaN, "brand": "NULL"}', NewItem(title="Pot")),
        ('{"title": "Pot", "category": "Home > Pots"}', NewItem(title="Pot", category=["Home", "Pots"])),
        ('{"title": "Pot", "category": "Home &gt; Pots"}', NewItem(title="Pot", category=["Home", "Pots"])),
        ('{"title": "Pot", "category": [["Home", "Pots"]]}', NewItem(title="Pot", category=["Home", "Pots"])),
        ('{"title": "Pot &amp; <b>lid</b>", "category": "Home"}', NewItem(title="Pot & lid", category=["Home"])),
        ('{"title": 7, "colour": null}', NewItem(title="7")),
    ],
)
def test_a_row_is_read_as_exports_write_it(line: str, item: NewItem) -> None:
    assert parse_new_item(line, "stdin:1") == item


def test_a_field_with_a_slip_is_told_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        parse_new_item('{"titel": "Pot"}', "stdin:1")

    assert caught.value.hint == "did you mean title?"


def test_a_workspace_without_its_encoder(trained_copy: Workspace) -> None:
    opened = Recommender.open(trained_copy.root)
    trained_copy.path("embeddings/encoder.json").unlink()

    with pytest.raises(WorkspaceError, match=r"encoder\.json is gone"):
        list(opened.answer_new([{"title": "camera"}]))
