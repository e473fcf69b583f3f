from __future__ import annotations

import pytest

from mmsc_cli.prepare.counts import BALANCES, LOSSES, balance

WHOLE = {"records": 3, "items": 2, "repeated": 1, "relations": 4, "relations_kept": 4}


def test_every_kind_of_loss_is_named_even_where_there_is_none() -> None:
    counts = balance(WHOLE)
    assert counts["without_id"] == 0
    assert counts["relations_outside"] == 0
    assert "events" not in counts, "this source reads none"


@pytest.mark.parametrize("name", ["records", "items", "relations", "relations_kept"])
def test_what_was_lost_without_a_name_is_an_error(name: str) -> None:
    with pytest.raises(ArithmeticError, match="do not add up"):
        balance(WHOLE | {name: WHOLE[name] + 1})


def test_every_loss_has_a_meaning_to_show() -> None:
    kept = {"items", "relations_kept", "relations_outside_kept", "events_kept", "event_pairs_kept", "images"}
    assert {part for parts in BALANCES.values() for part in parts} - kept == set(LOSSES)
