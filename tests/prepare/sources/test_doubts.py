"""Wrong data says so: ids that do not meet, columns that look forgotten, types nobody named, pairs that are too few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.workspace.workspace import Workspace

Counts = dict[str, Any]


@pytest.fixture
def counts(tmp_path: Path) -> Callable[..., Counts]:
    """Prepare a log and a table of items, and return the counts."""

    def run(log: str, items: str | None = None, **source: Any) -> Counts:
        (tmp_path / "log.csv").write_text(log, encoding="utf-8")
        source = {"kind": "events", "events": "log.csv", **source}
        if items is not None:
            (tmp_path / "items.csv").write_text(items, encoding="utf-8")
            source["items"] = "items.csv"
        recipe = Recipe.model_validate({"name": "mine", "source": source})
        return prepare(Workspace(tmp_path / "space"), recipe, recipe_directory=tmp_path)

    return run


def _log(items: list[str], sessions: int = 6, word: str = "view") -> str:
    rows = [f"s{number},{item},{word}" for number in range(sessions) for item in items[:2]]
    rows += [f"x{number},{item},{word}" for number, item in enumerate(items[2:])]
    return "session,item,type\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("log_ids", "item_ids", "change"),
    [
        (["sku-1", "sku-2", "sku-3"], ["SKU-1", "SKU-2", "SKU-3"], "upper and lower case"),
        (["00123", "00124", "00125"], ["123", "124", "125"], "leading zeros"),
        (["shopify_US_11", "shopify_US_12", "shopify_US_13"], ["11", "12", "13"], "after the last _"),
        (["A-1", "A-2", "A-3"], ["A1", "A2", "A3"], "dashes"),
    ],
)
def test_ids_that_do_not_meet_are_refused_with_what_would_make_them(
    counts: Callable[..., Counts], log_ids: list[str], item_ids: list[str], change: str
) -> None:
    items = "item_id,title\n" + "".join(f"{item},x\n" for item in item_ids)
    with pytest.raises(InputError, match="0 of the 3 ids of the log are among the 3 of the items") as caught:
        counts(_log(log_ids), items)
    assert all(repr(item) in caught.value.message for item in (*log_ids, *item_ids)), "three of each side"
    assert change in caught.value.message


@pytest.mark.parametrize(
    ("log_ids", "match"),
    [
        (["sku-1", "sku-2", "sku-3"], "case"),
        (["0SKU-1", "00SKU-2", "SKU-3"], "zeros"),
        (["SKU1", "SKU 2", "SKU_3"], "punctuation"),
        (["shop:SKU-1", "shop:SKU-2", "shop:SKU-3"], "exact"),
    ],
)
def test_the_setting_that_a_message_names_makes_the_ids_meet(
    counts: Callable[..., Counts], log_ids: list[str], match: str
) -> None:
    items = "item_id,title,group\nSKU-1,x,\nSKU-2,x,\nSKU-3,x,G\nSKU-4,y,G\n"
    if match == "exact":
        with pytest.raises(InputError):
            counts(_log(log_ids), items)
        return
    found = counts(_log([*log_ids, "SKU-4"]), items, match_ids=match)
    assert found["ids"] == {
        "both": 4,
        "log_only": 0,
        "items_only": 0,
        "log_only_examples": [],
        "items_only_examples": [],
    }


def test_the_column_that_has_the_ids_of_the_log_is_named_and_no_group_is_an_example(
    counts: Callable[..., Counts],
) -> None:
    items = "item_id,title,sku,group\n" + "".join(f"{number},x,A{number},0-GROUP\n" for number in range(9))
    with pytest.raises(InputError, match="among the 9 of the items") as caught:
        counts(_log([f"A{number}" for number in range(9)]), items)
    assert 'item_id = "sku"' in str(caught.value.hint)
    assert "GROUP" not in caught.value.message


def test_numbers_below_zero_may_be_returns(counts: Callable[..., Counts]) -> None:
    log = "session,item,net,lon\n" + "".join(
        f"s{row // 2},{'ABCD'[row % 4]},{-9.9 if row % 8 == 0 else 9.9},{-0.1234 * row}\n" for row in range(40)
    )
    (warning,) = [text for text in counts(log)["warnings"] if "below 0" in text]
    assert '"net" is below 0 in 5 of 40 rows' in warning
    assert 'quantity = "net"' in warning
    found = counts(log, columns={"quantity": "net"})
    assert not any("below 0" in text for text in found["warnings"])
    assert found["events_cancelled"] == 5


def test_orders_that_were_cancelled_are_a_warning_whose_lines_leave_them_out(counts: Callable[..., Counts]) -> None:
    states = ("completed", "shipped", "completed", "refunded")
    log = "order_id,item,status\n" + "".join(
        f"o{row // 2},{('AB', 'CD')[row // 8 % 2][row % 2]},{states[row // 2 % 4]}\n" for row in range(48)
    )
    columns = {"session": "order_id"}
    (warning,) = [text for text in counts(log, columns=columns)["warnings"] if "status" in text]
    assert "rows whose \"status\" is 'refunded' count as purchases" in warning
    assert 'type = "status"' in warning
    assert 'purchase = ["completed", "shipped"]' in warning
    types = {"purchase": ["completed", "shipped"]}
    found = counts(log, columns={**columns, "type": "status"}, types=types)
    assert (found["events_of_other_type"], found["events_kept"]) == (12, 36)


def test_ids_that_hardly_meet_are_a_warning(counts: Callable[..., Counts]) -> None:
    items = "item_id,title\nA,x\nB,x\n" + "".join(f"OTHER-{number},x\n" for number in range(60))
    found = counts(_log(["A", "B", *(f"other-{number}" for number in range(60))]), items)
    assert any("2 of the 62 ids of the log" in warning and "case" in warning for warning in found["warnings"])


def test_types_that_nobody_named_are_a_warning_with_the_types_seen(counts: Callable[..., Counts]) -> None:
    log = _log(["A", "B", "C", "D"]) + "".join(f"c{number},A,click\n" for number in range(40))
    (warning,) = [text for text in counts(log)["warnings"] if "types" in text]
    assert "40 of 54 events" in warning
    assert "'click' 40, 'view' 14" in warning
    with pytest.raises(InputError, match=r"seen: 'klick' 14"):
        counts(_log(["A", "B", "C", "D"], word="klick"))


def test_a_column_that_looks_forgotten_is_a_warning(counts: Callable[..., Counts]) -> None:
    items = "item_id,product_name\nA,x\nB,y\nC,\nD,\n"
    warnings = counts(_log(["A", "B", "C", "D"]), items)["warnings"]
    assert any('title = "product_name" under [source.columns]' in warning for warning in warnings)
    assert "4 of 4 items have no title" in warnings[-2]  # the graver comes first
    assert 'title = "product_name"' in warnings[-1]
    empty = counts(_log(["A", "B", "C", "D"]), "item_id,title,image\nA,x,\nB,y,NULL\nC,z,\nD,z,\n")["warnings"]
    assert not any("image_url" in warning for warning in empty)
    warnings = counts(_log(["A", "B", "C", "D"]), items, columns={"title": "product_name"})["warnings"]
    assert not any("title" in warning for warning in warnings)


def test_too_few_pairs_are_a_warning(counts: Callable[..., Counts]) -> None:
    warnings = counts(_log(["A", "B", "C", "D"]))["warnings"]
    assert warnings[-2].startswith("only 1 co_view pair:")
    assert warnings[-1].startswith("no co_purchase pairs")


def test_unreadable_times_are_a_warning(counts: Callable[..., Counts]) -> None:
    log = "session,item,type,time\n" + "".join(f"{line},soon\n" for line in _log(["A", "B", "C", "D"]).splitlines()[1:])
    assert any("14 of 14 times are unreadable (seen: 'soon')" in warning for warning in counts(log)["warnings"])


def test_times_that_may_be_of_two_days_are_a_warning_with_the_line_to_write(counts: Callable[..., Counts]) -> None:
    log = "session,item,type,time\n" + "".join(f"{line},1/2/2024\n" for line in _log(["A", "B", "C"]).splitlines()[1:])
    assert any("'1/2/2024'" in warning and "day_first" in warning for warning in counts(log)["warnings"])


def test_a_period_that_no_log_has_is_a_warning(counts: Callable[..., Counts]) -> None:
    log = "session,item,type,time\n" + "".join(f"{line},86400\n" for line in _log(["A", "B", "C"]).splitlines()[1:])
    assert any("from 1970-01-02 to 1970-01-02" in warning for warning in counts(log)["warnings"])


def test_no_pair_left_says_why_with_the_numbers(counts: Callable[..., Counts]) -> None:
    log = "session,item,type\n" + "".join(f"s{number},A{number + end},view\n" for number in range(9) for end in (0, 1))
    with pytest.raises(InputError, match="of 0 pairs, 0 are rarer than min_support") as caught:
        counts(log, min_support=3)
    assert "chance" in caught.value.message


def test_support_adapts_to_each_type_of_event(counts: Callable[..., Counts]) -> None:
    """Views are many and noisy, purchases are few: each pair was bought twice."""
    views = [f"v{number},{item}" for number in range(400) for item in (f"A{number % 20}", f"B{number % 20}")]
    noise = [f"v{number},A{number * 7 % 20}" for number in range(400)]
    log = "session,item,type\n" + "".join(f"{line},view\n" for line in views + noise)
    bought = [f"p{number},{item}" for number in range(40) for item in (f"A{number % 20}", f"C{number % 20}")]
    found = counts(log + "".join(f"{line},purchase\n" for line in bought))
    assert found["min_support"]["purchase"] <= 2
    assert found["co_purchase_pairs"] == 20
    given = counts(log, min_support={"view": 5, "purchase": 2})
    assert given["min_support"] == {"view": 5, "purchase": 2}


def test_ids_that_no_line_of_a_table_can_hold_are_mended_and_said(counts: Callable[..., Counts]) -> None:
    items = 'item_id,title\n"A\tB",x\n"C\nD",y\n'
    found = counts('session,item,type\ns,"A\tB",view\ns,"C\nD",view\nt,A B,view\nt,C D,view\n', items)
    assert found["ids"]["both"] == 2
    assert found["ids_with_controls"] == 4
    assert any("ids hold tabs" in warning for warning in found["warnings"])


def test_files_that_were_given_for_one_another_are_said(counts: Callable[..., Counts]) -> None:
    log, items = "session,item,type\ns,A,view\n", "Handle,Title,Variant SKU,Variant Price\nlamp,Lamp,A,3\n"
    with pytest.raises(InputError, match=r"log.csv was taken for events, but .*a shopify export") as caught:
        counts(items, log)
    assert "swap source.events and source.items" in (caught.value.hint or "")
    with pytest.raises(InputError, match=r"items.csv was taken for items, but it seems to hold events"):
        counts(log, "user_session,sku,event_time\ns,A,2024-01-01\n", columns={"item_id": "product"})
