"""Which items may be answers; I00 is asked about, and In scores -n."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import InputError, UnknownItemError, WorkspaceError
from mmsc_cli.index.filters import Filters
from mmsc_cli.index.index_file import Index
from mmsc_cli.infer.recommender import Recommender
from tests.fixtures.hand_made_index import hand_made_tensors


def _found(recommender: Recommender, relation: str, k: int = 20, **filters: Any) -> list[int]:
    ask = recommender.substitutes if relation == "substitute" else recommender.complements
    return [int(answer.item[1:]) for answer in ask("I00", k, **filters)]


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ({"novel": True}, [3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ({"min_score": -3}, [1, 2, 3]),
        ({"category": "same"}, [1, 2, 7]),
        ({"category": "other"}, [3, 4, 5, 8, 9, 10, 11]),
        ({"price_within": 0.2}, [1, 3, 6, 8, 9, 10, 11]),
        ({"price_within": 0.0}, [6, 8, 9, 10, 11]),
        ({"in_stock": ["I07", "I01", "NOWHERE"]}, [1, 7]),
        ({"in_stock": []}, []),
        ({"novel": True, "category": "other", "price_within": 0.2, "min_score": -9}, [3, 8, 9]),
    ],
)
def test_what_is_left(hand_made: Recommender, filters: dict[str, Any], left: list[int]) -> None:
    assert _found(hand_made, "substitute", **filters) == left
    assert _found(hand_made, "substitute", k=2, **filters) == left[:2]


def test_a_price_is_no_condition_on_complements(hand_made: Recommender) -> None:
    assert _found(hand_made, "complement", price_within=0.2) == list(range(1, 12))


@pytest.mark.parametrize(("item", "filters"), [("I05", {"price_within": 0.5}), ("I06", {"category": "same"})])
def test_nothing_is_like_what_is_unknown(hand_made: Recommender, item: str, filters: dict[str, Any]) -> None:
    assert hand_made.substitutes(item, **filters) == []
    assert hand_made.substitutes("I06", category="other") == []


def test_complements_of_different_types_come_first(hand_made: Recommender) -> None:
    # One each of lamps, toys and the unknown, then the second of each; pans, the query's own, start one round later.
    assert _found(hand_made, "complement", diversify=True) == [3, 5, 6, 1, 4, 9, 2, 8, 10, 7, 11]
    assert _found(hand_made, "complement", k=3, diversify=True) == [3, 5, 6]
    assert _found(hand_made, "substitute", k=3, diversify=True) == [1, 2, 3]


def test_an_index_without_attributes_says_so(hand_made: Recommender) -> None:
    lean = {name: tensor for name, tensor in hand_made_tensors().items() if name not in ("price", "category")}
    recommender = Recommender(Index(lean, {}), hand_made._root)

    assert len(recommender.substitutes("I00")) == 10
    for filters in ({"price_within": 0.1}, {"category": "same"}, {"diversify": True}):
        with pytest.raises(WorkspaceError, match="has no"):
            recommender.substitutes("I00", **filters)


@pytest.mark.parametrize(
    "filters", [{"price_within": -0.1}, {"price_within": float("nan")}, {"min_score": float("nan")}]
)
def test_a_limit_that_is_none(filters: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Filters(**filters)  # type: ignore[arg-type]


@pytest.fixture
def with_variants(hand_made: Recommender) -> Recommender:
    """I00, I01 and I02 are variants of one product, I04 and I05 of another."""
    group = np.array([0, 0, 0, -1, 1, 1, *[-1] * 6], np.int32)
    return Recommender(Index({**hand_made_tensors(), "group": group}, {}), hand_made._root)


def test_of_variants_only_the_best_is_shown(with_variants: Recommender) -> None:
    assert _found(with_variants, "substitute") == [1, 3, 4, 6, 7, 8, 9, 10, 11]
    assert _found(with_variants, "substitute", k=3) == [1, 3, 4]
    assert _found(with_variants, "substitute", k=4, variants=True) == [1, 2, 3, 4]


def test_the_name_of_a_group_asks_for_its_first_variant(with_variants: Recommender, tmp_path: Path) -> None:
    groups = ["bag", "bag", "bag", None, "lamp", "lamp", *[None] * 6]
    pq.write_table(pa.table({"group": pa.array(groups)}), tmp_path / "items.parquet")
    named = Recommender(with_variants.index, tmp_path)

    for relation in ("substitute", "complement"):
        assert list(named.answer(["lamp"], relation)) == list(named.answer(["I04"], relation))
    assert named.title("lamp") == named.title("I04")
    with pytest.raises(UnknownItemError):
        named.substitutes("sofa")


def test_a_variant_in_stock_stands_for_its_product(with_variants: Recommender) -> None:
    assert _found(with_variants, "substitute", in_stock=["I02", "I05", "I07"]) == [2, 5, 7]


def test_variants_of_the_query_are_no_complements(with_variants: Recommender) -> None:
    assert _found(with_variants, "complement", k=3) == [3, 4, 6]
    assert _found(with_variants, "complement", k=3, variants=True) == [3, 4, 5]
    # I04, the best of its product, is a second lamp; so a toy comes before it.
    assert _found(with_variants, "complement", k=3, diversify=True) == [3, 6, 9]
