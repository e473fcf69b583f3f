"""Columns that the recipe keeps: conditions on them, and files that cannot be trusted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.index.filters import Filters, sieves
from mmsc_cli.index.kept_columns import NAME, Condition, KeptColumns, write_kept_columns
from mmsc_cli.index.storage import Strings
from mmsc_cli.infer.recommender import Recommender
from tests.fixtures.hand_made_index import ITEMS

COLOURS: list[str | None] = ["red", "blue", None, "red", "green", "Dark red", *[None] * 5, "blue"]
WEIGHTS: list[str | None] = ["1", "2.5", "3", None, "0.5", "-1", "1e3", *[None] * 5]
SIZES: list[str | None] = ["1", "XL", "007", *[None] * 9]


@pytest.fixture
def keeping(hand_made: Recommender, tmp_path: Path) -> Recommender:
    """A recommender whose workspace has kept columns."""
    columns: dict[str, list[str | None]] = {
        "colour": COLOURS,
        "weight": WEIGHTS,
        "size": SIZES,
        "never": [None] * ITEMS,
    }
    write_kept_columns(tmp_path / NAME, list(hand_made.index.ids), columns)
    return Recommender(hand_made.index, tmp_path)


def test_numbers_are_read_as_they_were_written(keeping: Recommender) -> None:
    weight = keeping.kept.column("weight")

    assert [repr(weight.of(row)) for row in range(4)] == ["1", "2.5", "3", "None"]


def test_a_few_cells_that_are_no_numbers_are_a_doubt(tmp_path: Path) -> None:
    ids = [f"I{row:02}" for row in range(20)]
    numbers = list(map(str, range(18)))

    def doubts(*others: str | None) -> list[str]:
        return write_kept_columns(tmp_path / NAME, ids, {"stock": [*numbers, *others]})

    (doubt,) = doubts("many", None)
    assert doubt.startswith("kept column stock: no number in 1 of 19 cells, such as 'many'")
    assert doubts("007", "7") == []  # codes
    assert write_kept_columns(tmp_path / NAME, ids[:3], {"size": ["38", "M", "L"]}) == []


def _items(recommender: Recommender, *where: str, k: int = 12, query: str = "I07") -> list[int]:
    return sorted(int(answer.item[1:]) for answer in recommender.substitutes(query, k, where=where))


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        (["colour=red"], [0, 3]),
        (["colour = red "], [0, 3]),
        (["colour=red", "colour=blue"], [0, 1, 3, 11]),
        (["colour!=red"], [1, 4, 5, 11]),
        (["colour!=red", "colour!=blue"], [4, 5]),
        (["colour=Dark red"], [5]),
        (["weight<=1"], [0, 4, 5]),
        (["weight<1"], [4, 5]),
        (["weight>2.5"], [2, 6]),
        (["weight>=2.5", "weight<1000"], [1, 2]),
        (["weight=1.0"], [0]),
        (["weight!=1"], [1, 2, 4, 5, 6]),
        (["colour=red", "weight>=0"], [0]),
        (["size=007"], [2]),  # a code, not the number 7
    ],
)
def test_only_items_that_fulfil_the_conditions_are_answers(
    keeping: Recommender, where: list[str], rows: list[int]
) -> None:
    assert _items(keeping, *where) == rows


def test_conditions_hold_before_the_best_are_taken_and_for_pins_and_bestsellers(keeping: Recommender) -> None:
    assert [answer.item for answer in keeping.substitutes("I00", 2, where="colour=blue")] == ["I01", "I11"]
    filled = keeping.with_fallback().substitutes("I03", 3, where="colour=blue", min_score=100)
    assert [(answer.item, answer.source) for answer in filled] == [("I01", "bestseller")]


def test_kept_columns_are_shown(keeping: Recommender) -> None:
    kept = keeping.kept
    assert kept.names == ["colour", "never", "size", "weight"]
    assert [kept.column(name).of(0) for name in kept.names] == ["red", None, "1", 1.0]
    assert [kept.column(name).of(2) for name in kept.names] == [None, None, "007", 3.0]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("color=red", "no column 'color' is kept"),
        ("colour<red", "colour holds texts"),
        ("weight=heavy", "'heavy' is none"),
        ("weight<nan", "'nan' is none"),
        ("colour", "not a condition"),
        ("=red", "not a condition"),
        ("colour=", "not a condition"),
    ],
)
def test_conditions_that_mean_nothing_are_refused(keeping: Recommender, where: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _items(keeping, where)


def test_the_nearest_column_and_value_are_named(keeping: Recommender, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError) as caught:
        _items(keeping, "color=red")
    assert caught.value.hint == "did you mean colour?"
    with caplog.at_level(logging.WARNING):
        assert _items(keeping, "colour=Red") == []
    assert "--where colour=Red: no item has this value; did you mean red" in caplog.text


def test_without_kept_columns_the_hint_says_how_to_keep_one(hand_made: Recommender) -> None:
    with pytest.raises(InputError) as caught:
        _items(hand_made, "colour=red")
    assert 'keep = ["colour"] under [source]' in str(caught.value.hint)
    with pytest.raises(InputError, match="stands alone"):
        sieves(hand_made.index, Filters(where=["colour=red"]))


def test_columns_of_another_catalogue_are_refused(hand_made: Recommender, tmp_path: Path) -> None:
    write_kept_columns(tmp_path / NAME, [f"X{row}" for row in range(ITEMS)], {"colour": COLOURS})
    with pytest.raises(WorkspaceError, match="another catalogue"):
        _items(Recommender(hand_made.index, tmp_path), "colour=red")


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_file_that_is_cut_short_is_refused(keeping: Recommender, tmp_path: Path, length: int) -> None:
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(WorkspaceError):
        _items(Recommender(keeping.index, tmp_path), "colour=red")


def test_a_condition_says_itself() -> None:
    assert str(Condition.parse("a b >= 3")) == "a b>=3"
    assert Condition.parse("size=a=b") == Condition("size", "=", "a=b")


def test_an_opened_file_stays_as_it_was(keeping: Recommender, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    write_kept_columns(fresh, ["other"], {"colour": ["red"]})
    fresh.rename(tmp_path / NAME)
    assert _items(keeping, "colour=red") == [0, 3]
    assert KeptColumns(tmp_path / NAME, Strings.of(["other"])).column("colour").of(0) == "red"
