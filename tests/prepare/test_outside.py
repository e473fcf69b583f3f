"""What leads outside the catalogue: kept where two items share the partner, and never a pair of catalogue items."""

from __future__ import annotations

import json
import math
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsc_cli.prepare.assemble import assemble
from mmsc_cli.prepare.counts import balance
from mmsc_cli.prepare.records import RECORD_SCHEMA, Delivery, relation_table
from mmsc_cli.prepare.settings import SplitSettings
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.outside import Outside
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.workspace.workspace import Workspace

BLANK = {"title": "", "description": "", "brand": "", "category": [], "price": float("nan"), "richness": 0}
NO_LISTS: dict[str, Any] = {"image_url": None, "image_path": None, "views": [], "purchases": []}


@given(
    ids=st.lists(st.sampled_from("ABCDEFGH"), min_size=2, max_size=6, unique=True),
    relations=st.lists(
        st.tuples(
            st.sampled_from("ABCDEFGHIJ"),
            st.sampled_from("ABCDEFGHIJ"),
            st.sampled_from([0.0, 0.5, 2.0]),
            st.sampled_from([0.0, 1.0]),
        ),
        max_size=60,
    ),
    lists=st.dictionaries(st.sampled_from("ABCDEFGH"), st.lists(st.sampled_from("ABCDEFGHIJ"), unique=True)),
)
@settings(max_examples=50, deadline=None)
def test_outside_holds_all_shared_partners_and_no_pair_of_items(
    ids: list[str], relations: list[tuple[str, str, float, float]], lists: dict[str, list[str]]
) -> None:
    known = [(ids[0], ids[1], 1.0, 0.0)]
    with tempfile.TemporaryDirectory() as name:
        delivery = Delivery(Path(name))
        records = [
            BLANK | NO_LISTS | {"record": number, "item_id": item_id, "views": lists.get(item_id, [])}
            for number, item_id in enumerate(ids)
        ]
        delivery.add("records", pa.Table.from_pylist(records, schema=RECORD_SCHEMA))
        columns = dict(zip(("source", "target", "view", "buy"), zip(*relations, *known, strict=True), strict=True))
        delivery.add("relations", relation_table(columns))
        paths = Path(name) / "items.parquet", Path(name) / "pairs.parquet", Path(name) / "outside.parquet"
        counts = assemble(delivery, *paths, SplitSettings(), seed=1).counts
        sorted_ids = read_items(paths[0])["item_id"].to_pylist()
        outside, pairs = Outside.read(paths[2]), Pairs.read(paths[1])
    said: dict[tuple[str, str, str, bool], float] = defaultdict(float)
    for source, targets in lists.items():
        for position, target in enumerate(targets, start=1):
            if source in ids and target not in ids:
                key = source, target, "substitute", True
                said[key] = max(said[key], 0.5 + 1 / math.log2(1 + position))
    for source, target, view, buy in relations:
        for relation, strength in zip(RELATIONS, (view, buy), strict=True):
            outward = source in ids
            if strength > 0 and outward != (target in ids):
                key = (source, target, relation, True) if outward else (target, source, relation, False)
                said[key] = max(said[key], strength)
    holders = defaultdict(set)
    for item, partner, _, _ in said:
        holders[partner].add(item)
    partners = sorted(partner for partner, items in holders.items() if len(items) > 1)
    expected = {key: strength for key, strength in said.items() if key[1] in partners}
    found = {
        (sorted_ids[item], partners[number], RELATIONS[relation], bool(outward)): float(strength)
        for item, number, relation, outward, strength in zip(
            outside.item, outside.outside, outside.relation, outside.outward, outside.strength, strict=True
        )
    }
    assert found.keys() == expected.keys()
    assert all(abs(found[key] - expected[key]) < 1e-6 for key in expected)
    assert len(outside) == len(found), "every row once"
    pair_ends = {frozenset((sorted_ids[a], sorted_ids[b])) for a, b in zip(pairs.a, pairs.b, strict=True)}
    assert not pair_ends & {frozenset(key[:2]) for key in found}, "no pair of the catalogue, held out or not"
    assert counts["outside_partners"] == len(partners)
    assert counts["outside_partners_of_one_item"] == len(holders) - len(partners)
    n_relations = len(relations) + 1 + sum(len(lists.get(item_id, [])) for item_id in ids)
    balance(counts | {"relations": n_relations})


def test_partners_of_amazon_lists_are_kept_where_two_items_have_them(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"asin": "A", "also_buy": ["X", "B", "Y"], "also_view": ["X"]},
        {"asin": "B", "also_buy": ["X"]},
    ]
    (tmp_path / "meta.json").write_text("\n".join(map(json.dumps, records)))
    workspace = Workspace(tmp_path / "space")
    recipe = Recipe.model_validate({"name": "mine", "source": {"kind": "amazon"}})
    counts = prepare(workspace, recipe, inputs=[tmp_path / "meta.json"])
    outside = Outside.read(workspace.path("outside.parquet"))
    rows = zip(outside.item.tolist(), outside.outside.tolist(), outside.relation.tolist(), strict=True)
    assert list(rows) == [(0, 0, 0), (0, 0, 1), (1, 0, 1)]
    assert outside.strength.tolist() == [1.5, 1.5, 1.5]
    assert (counts["relations_outside_kept"], counts["relations_outside"]) == (3, 1)


def test_what_sessions_hold_beside_the_catalogue_is_kept(tmp_path: Path) -> None:
    sessions = [f"{number},{item},purchase" for number in range(9) for item in ("A", "B", "X")]
    sessions += [f"other{number},{item},purchase" for number in range(9) for item in ("C", "D")]
    (tmp_path / "events.csv").write_text("\n".join(["session,item,type", *sessions]))
    (tmp_path / "items.csv").write_text("item_id\nA\nB\nC\nD\n")
    workspace = Workspace(tmp_path / "space")
    source = {"kind": "events", "events": "events.csv", "items": "items.csv"}
    prepare(workspace, Recipe.model_validate({"name": "mine", "source": source}), recipe_directory=tmp_path)
    outside = Outside.read(workspace.path("outside.parquet"))
    assert outside.item.tolist() == [0, 0, 1, 1]
    assert outside.outward.tolist() == [False, True, False, True]
    assert {RELATIONS[relation] for relation in outside.relation} == {"complement"}
