"""`mmsc show`: an item, its pairs, its answers; and finding items by title."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc


def test_an_item_with_its_pairs_and_answers(
    mmsc: Mmsc, trained: Workspace, items: pa.Table, item_ids: list[str]
) -> None:
    pairs = Pairs.read(trained.path("pairs.parquet"))
    row = int(pairs.a[0])
    shown = json.loads(mmsc("show", item_ids[row], "-w", trained.root, "-k", "300", "--json").out)

    item = items.slice(row, 1).to_pylist()[0]
    assert {name: shown["item"][name] for name in ("item_id", "title", "brand", "category")} == {
        name: item[name] for name in ("item_id", "title", "brand", "category")
    }
    for relation in ("substitute", "complement"):
        strength = pairs.strength(relation)
        mine = ((pairs.a == row) | (pairs.b == row)) & (strength > 0)
        listed = [pair for pair in shown["pairs"] if pair["relation"] == relation]
        partners = {item_ids[end] for end in (*pairs.a[mine], *pairs.b[mine])} - {item_ids[row]}
        assert {pair["item"] for pair in listed} == partners
        assert [pair["strength"] for pair in listed] == sorted((pair["strength"] for pair in listed), reverse=True)
    answered = mmsc("infer", item_ids[row], "-w", trained.root, "-k", "300", "--format", "jsonl").out.splitlines()
    expected = [json.loads(line) for line in answered]
    assert [answer["item"] for answer in shown["answers"]] == [answer["item"] for answer in expected]


def test_the_same_as_tables(mmsc: Mmsc, trained: Workspace, item_ids: list[str]) -> None:
    ran = mmsc("show", item_ids[0], "-w", trained.root, "-k", "3")
    item, _, answers = ran.out.strip().split("\n\n")

    assert (ran.code, ran.err) == (0, "")
    assert item.startswith(f"column\tvalue\nitem_id\t{item_ids[0]}\n")
    assert answers.splitlines()[0].split("\t") == ["relation", "rank", "item", "score", "title", "why"]
    assert len(answers.splitlines()) == 7


def test_before_training_there_are_no_answers(mmsc: Mmsc, prepared: Workspace, item_ids: list[str]) -> None:
    shown = json.loads(mmsc("show", item_ids[0], "-w", prepared.root, "--json").out)

    assert shown["item"]["item_id"] == item_ids[0]
    assert shown["answers"] == []


def test_an_unknown_item(mmsc: Mmsc, prepared: Workspace) -> None:
    ran = mmsc("show", "NOWHERE", "-w", prepared.root)

    assert (ran.code, ran.out) == (3, "")
    assert "nearest ids" in ran.err


def test_items_are_found_by_the_words_of_their_titles(mmsc: Mmsc, prepared: Workspace, items: pa.Table) -> None:
    item = items.slice(5, 1).to_pylist()[0]
    words = item["title"].upper().split()[:2]
    found = json.loads(mmsc("show", "--title", " ".join(words), "-w", prepared.root, "-k", "300", "--json").out)
    every = items.to_pylist()

    assert {match["item_id"] for match in found} == {
        other["item_id"] for other in every if all(word.lower() in other["title"].lower() for word in words)
    }
    none = mmsc("show", "--title", "no such thing", "-w", prepared.root)
    assert (none.code, none.out) == (0, "item_id\ttitle\n")
    assert none.err == "no title contains all words of 'no such thing'\n"
