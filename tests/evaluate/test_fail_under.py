from __future__ import annotations

from typing import Any

import pytest

from mmsc_cli.errors import GateError, InputError
from mmsc_cli.evaluate.fail_under import GRAMMAR, check_model
from mmsc_cli.metrics.gates import parse_gates

MODELS: dict[str, Any] = {
    "mmsc": {
        "substitute": {"all": {"hit@10": 0.8, "ndcg@10": 0.5}, "cold": {"hit@10": None, "ndcg@10": None}},
        "complement": {"all": {"hit@10": 0.7, "ndcg@10": 0.4}},
    }
}


@pytest.mark.parametrize(
    "text",
    [
        "substitute.all.ndcg@10>=0.5",
        " substitute.all.ndcg@10 >= .5 , complement.all.hit@10>0.69",
        "substitute.all.hit@10>0",
    ],
)
def test_gates_that_hold(text: str) -> None:
    check_model(parse_gates(text, GRAMMAR), MODELS)


def test_a_failed_gate_names_its_figure() -> None:
    with pytest.raises(GateError, match=r"substitute\.all\.ndcg@10 is 0\.5000 \(required: .*>0\.5\)"):
        check_model(parse_gates("substitute.all.ndcg@10>0.5", GRAMMAR), MODELS)


def test_all_failures_are_named_at_once() -> None:
    with pytest.raises(GateError) as error:
        check_model(
            parse_gates("substitute.all.hit@10>=0.9,complement.all.ndcg@10>=0.3,complement.all.hit@10>=1", GRAMMAR),
            MODELS,
        )
    assert "substitute.all.hit@10" in error.value.message
    assert "complement.all.hit@10" in error.value.message
    assert "complement.all.ndcg@10" not in error.value.message


def test_an_empty_slice_fails_its_gate() -> None:
    with pytest.raises(GateError, match="no queries"):
        check_model(parse_gates("substitute.cold.hit@10>=0", GRAMMAR), MODELS)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("substitutes.all.ndcg@10>=0.5", "substitutes"),
        ("substitute.al.ndcg@10>=0.5", "'al'"),
        ("substitute.all.ndcg>=0.5", "'ndcg'"),
        ("mmsc.substitute.all.ndcg@10>=0.5", "mmsc.substitute.all.ndcg@10"),
        ("substitute.all.ndcg@10<0.5", "not a gate"),
        ("substitute.all.ndcg@10=>0.5", "not a gate"),
        ("substitute.all.ndcg@10", "not a gate"),
        ("substitute.all.ndcg@10>=half", "half"),
        ("substitute.all.ndcg@10>=nan", "nan"),
        ("substitute.all.ndcg@10>=50", "between 0 and 1"),
        ("substitute.all.ndcg@10>=0.5,", "not a gate"),
        ("", "not a gate"),
    ],
)
def test_a_typo_is_answered_with_the_known_paths(text: str, named: str) -> None:
    with pytest.raises(InputError) as error:
        parse_gates(text, GRAMMAR)
    assert named in error.value.message
    assert "cold_clean" in (error.value.hint or "")
    assert "mrr@10" in (error.value.hint or "")


@pytest.mark.parametrize(
    ("value", "operator", "holds"), [(0.49996, ">=", True), (0.49994, ">=", False), (0.50004, ">", False)]
)
def test_a_gate_compares_what_it_prints(value: float, operator: str, holds: bool) -> None:
    gates = parse_gates(f"substitute.all.ndcg@10{operator}0.5", GRAMMAR)
    assert gates[0].holds(value) is holds
