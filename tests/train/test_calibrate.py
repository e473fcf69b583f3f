from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import Relation
from mmsc_cli.train.calibrate import PRIOR, calibrate

ITEMS = 400


class Oracle:
    """Scores a pair high in the relation it has."""

    def __init__(self, relation_of: dict[tuple[int, int], Relation]) -> None:
        self._relation_of = relation_of

    def pair_scores(self, relation: Relation, a: Any, b: Any) -> Any:
        noise = np.random.default_rng(0).normal(size=len(a))
        ends = zip(np.minimum(a, b).tolist(), np.maximum(a, b).tolist(), strict=True)
        return np.array([3.0 * (self._relation_of.get(pair) == relation) for pair in ends]) + noise


@pytest.fixture
def pairs() -> Pairs:
    random = np.random.default_rng(1)
    keys = np.unique(random.integers(0, ITEMS * ITEMS, 3_000))
    low, high = keys // ITEMS, keys % ITEMS
    ordered = low < high
    view = (np.arange(int(ordered.sum())) % 2).astype(np.float32)
    return Pairs(
        low[ordered].astype(np.int32),
        high[ordered].astype(np.int32),
        view,
        view,
        1 - view,
        1 - view,
        np.full(len(view), "valid"),
    )


def calibrated(oracle: Any, pairs: Pairs) -> dict[str, Any]:
    return calibrate(oracle, pairs, pairs, np.ones(ITEMS, np.bool_), np.random.default_rng(2))


def test_probabilities_follow_the_scores(pairs: Pairs) -> None:
    kinds: list[Relation] = ["substitute" if view else "complement" for view in pairs.view_ab.tolist()]
    oracle: Any = Oracle(dict(zip(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True), kinds, strict=True)))
    found = calibrated(oracle, pairs)
    coefficients = np.array(found["coefficients"])
    assert coefficients[0].argmax() == 0
    assert coefficients[1].argmax() == 1
    assert coefficients[2].max() < 0
    assert found["expected_calibration_error"] < 0.1
    assert max(found["calibration_error"].values()) < 0.1
    for relation, (low, high) in found["calibration_error_ci"].items():
        assert low <= found["calibration_error"][relation] <= high


def test_with_few_pairs_to_learn_from_probabilities_are_wide_and_near_what_is_usual(pairs: Pairs) -> None:
    many, few, none = (calibrated(Oracle({}), pairs.select(np.arange(len(pairs)) < count)) for count in (2_000, 5, 0))
    assert none["examples"] == 0
    np.testing.assert_allclose(none["coefficients"], PRIOR[:, :2], atol=1e-3)
    assert many["width"] < few["width"] < none["width"]
    assert none["expected_calibration_error"] is None
