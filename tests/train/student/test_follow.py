"""How far answers follow the student, as far as validation pairs can pay for it."""

from __future__ import annotations

from typing import Any

from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.student.follow import MOST_COST, choose_following
from mmsc_cli.train.validation import KINDS


class _Index:
    """An index that knows nothing but how far it follows."""

    def __init__(self, weight: float = 0.0) -> None:
        self.weight = weight

    def with_follow_labels(self, weights: dict[str, float]) -> _Index:
        (weight,) = weights.values()
        return _Index(weight)


class _Question:
    """Queries whose NDCG falls by a fraction with the weight; None: there are no queries."""

    def __init__(self, falls: float | None) -> None:
        self._falls = falls

    def ndcg(self, index: Any) -> float | None:
        return None if self._falls is None else 0.5 * (1 - self._falls * index.weight)


def _chosen(warm: float | None, cold: float | None, asked: float | None = None) -> set[float]:
    falls = dict(zip(KINDS, (warm, cold), strict=True))
    questions: Any = {(relation, kind): _Question(falls[kind]) for relation in RELATIONS for kind in KINDS}
    index: Any = _Index()
    return set(choose_following(index, questions, asked).values())


def test_the_greatest_weight_that_validation_pairs_can_pay_for() -> None:
    assert _chosen(warm=MOST_COST / 2, cold=0.0) == {1.0}
    (weight,) = _chosen(warm=2 * MOST_COST, cold=0.0)
    assert 0.45 < weight <= 0.5


def test_cold_items_pay_for_no_more_than_warm_ones() -> None:
    (weight,) = _chosen(warm=0.0, cold=4 * MOST_COST)
    assert 0.2 < weight <= 0.25


def test_without_cold_queries_the_warm_ones_decide() -> None:
    assert _chosen(warm=0.0, cold=None) == {1.0}


def test_without_warm_queries_nothing_is_followed() -> None:
    assert _chosen(warm=None, cold=0.0) == {0.0}


def test_a_weight_that_is_asked_for_is_taken() -> None:
    assert _chosen(warm=1.0, cold=1.0, asked=0.7) == {0.7}
