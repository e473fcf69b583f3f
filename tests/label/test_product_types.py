from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.label.product_types import ProductTypes, as_table, matched_types, proposed_by_pairs
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.proposals import read_proposals
from mmsc_cli.tables.truth import Truth
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

KINDS = {"phone": ["Shop", "Phones"], "case": ["Shop", "Phone cases"], "kettle": ["Home", "Kettles"]}


@pytest.fixture
def types(make_items: Callable[..., pa.Table]) -> ProductTypes:
    """Three types of ten items each, and one item without a category."""
    rows = [{"title": f"{kind} {n}", "category": path} for kind, path in KINDS.items() for n in range(10)]
    return ProductTypes.of_catalogue(make_items([*rows, {"title": "thing"}]))


def proposed(types: ProductTypes, pairs: Pairs) -> dict[tuple[str, str, str], float]:
    table = as_table(types, proposed_by_pairs(types, pairs), "rules").to_pylist()
    return {(row["category"][-1], row["other"][-1], row["relation"]): row["weight"] for row in table}


def test_types_are_whole_category_paths(types: ProductTypes) -> None:
    assert sorted(types.paths) == sorted(map(tuple, KINDS.values()))
    assert types.of_item[-1] == -1
    assert types.examples[types.paths.index(("Home", "Kettles"))] == ["kettle 0", "kettle 1", "kettle 2"]


def test_behaviour_proposes_what_is_bought_and_what_is_viewed_together(
    types: ProductTypes, make_pairs: Callable[..., Pairs]
) -> None:
    bought = [(n, 10 + m, 0.0, 1.0, "train") for n in range(10) for m in range(5)]
    viewed = [(n, m, 1.0, 0.0, "train") for n in range(10) for m in range(n + 1, 10)]
    by_chance = [(0, 20, 0.0, 1.0, "train"), (9, 30, 1.0, 1.0, "train")]
    found = proposed(types, make_pairs([*bought, *viewed, *by_chance]))
    for ends in (("Phones", "Phone cases"), ("Phone cases", "Phones")):
        assert found[*ends, "complement"] > 0.5
        assert found.get((*ends, "substitute"), 0) < 0.1
    assert found["Phones", "Phones", "substitute"] > 0.4
    assert found.get(("Phones", "Kettles", "complement"), 0) < 0.2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Phone cases", "Phone cases"),
        ("case for a phone", "Phone cases"),
        ("Electric kettle", "Kettles"),
        ("phones", "Phones"),
        ("Lawn mowers", None),
        ("", None),
    ],
)
def test_names_are_matched_to_the_types_of_the_catalogue(types: ProductTypes, name: str, expected: str | None) -> None:
    (match,) = matched_types(types, [name])
    assert (types.paths[match[0]][-1] if match else None) == expected


def test_a_catalogue_without_categories_has_no_proposals(
    make_items: Callable[..., pa.Table], make_pairs: Callable[..., Pairs]
) -> None:
    types = ProductTypes.of_catalogue(make_items([{}, {}]))
    assert len(types) == 0
    assert proposed_by_pairs(types, make_pairs([(0, 1, 1.0, 1.0, "train")])) == []
    assert matched_types(types, ["phone"]) == [None]
    assert len(as_table(types, [], "rules")) == 0


@pytest.mark.parametrize("model", ["rules", "oracle:1"])
def test_the_command_writes_them_beside_the_labels(mmsc: Mmsc, prepared_copy: Workspace, model: str) -> None:
    ran = mmsc("label", "--model", model, "--budget", 50, "--propose", "--json", "-q", "-w", prepared_copy.root)
    assert ran.code == 0
    table = read_proposals(prepared_copy.path("proposals.parquet"))
    assert json.loads(ran.out)["counts"]["proposals"] == len(table) > 10
    assert set(table["relation"].to_pylist()) == {"substitute", "complement"}
    rows: list[dict[str, Any]] = table.to_pylist()
    same = [row for row in rows if row["relation"] == "substitute" and row["category"] == row["other"]]
    assert len(same) > len({tuple(row["category"]) for row in rows}) / 2
    assert mmsc("label", "--model", model, "--budget", 50, "-q", "-w", prepared_copy.root).code == 0
    assert not prepared_copy.path("proposals.parquet").exists()


def test_the_oracle_proposes_from_the_truth(mmsc: Mmsc, prepared_copy: Workspace) -> None:
    options = ("--budget", 50, "--propose", "-q", "-w", prepared_copy.root)
    assert mmsc("label", "--model", "oracle:1", *options).code == 0
    truth = Truth.read(prepared_copy.path("truth.parquet"))
    types = ProductTypes.of_catalogue(pq.read_table(prepared_copy.path("items.parquet")))
    true = {
        (types.of_item[a], types.of_item[b])
        for a, b in zip(truth.a[truth.holds("complement")], truth.b[truth.holds("complement")], strict=True)
    }
    for row in read_proposals(prepared_copy.path("proposals.parquet")).to_pylist():
        if row["relation"] == "complement":
            ends = types.paths.index(tuple(row["category"])), types.paths.index(tuple(row["other"]))
            assert ends in true or ends[::-1] in true
