"""How much the categories of a pair count beside the ranker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.inputs import Inputs, Plan, read_inputs
from mmsc_cli.train.known import Catalogue, Known
from mmsc_cli.train.ranking.affinity import choose_affinity_weights
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.validation import validations_of
from mmsc_cli.workspace.workspace import Workspace

CANDIDATES = 100


class _Fixed:
    """A ranker that gives a column of the evidence, times a factor, as its score."""

    def __init__(self, column: int, factor: float) -> None:
        self._column, self._factor = column, factor

    def scores(self, evidence: NDArray[np.float32]) -> NDArray[np.float32]:
        score = self._factor * evidence[:, :, self._column]
        return np.stack([score, score], axis=2)


@pytest.fixture(scope="module")
def look(prepared: Workspace) -> tuple[Inputs, Evidence]:
    inputs = read_inputs(prepared, Plan(1))
    visible = inputs.training()
    return inputs, Evidence(Known(Catalogue(inputs.features, visible.has_behaviour, 5), visible, keep=CANDIDATES))


def _weights(look: tuple[Inputs, Evidence], factor: float) -> dict[Relation, float]:
    inputs, evidence = look
    asked = validations_of(inputs.pairs, inputs.item_splits, seed=1)
    rankers: dict[Relation, Any] = {name: _Fixed(evidence.linear_column(name), factor) for name in RELATIONS}
    return choose_affinity_weights(evidence, rankers, asked, CANDIDATES)


def test_categories_count_where_the_ranker_knows_nothing(look: tuple[Inputs, Evidence]) -> None:
    weights = _weights(look, factor=0)
    assert weights["complement"] > 0
    assert weights["substitute"] == 0  # they share a category, which rankers know


def test_categories_do_not_count_where_they_would_make_good_answers_worse(look: tuple[Inputs, Evidence]) -> None:
    # Scores so small that any weight would drown them.
    assert _weights(look, factor=0.001)["complement"] == 0


def test_nothing_is_chosen_from_few_queries(look: tuple[Inputs, Evidence]) -> None:
    inputs, evidence = look
    few = validations_of(inputs.pairs.select(np.arange(20)), inputs.item_splits, seed=1)
    rankers: dict[Relation, Any] = {name: _Fixed(0, 0) for name in RELATIONS}
    assert choose_affinity_weights(evidence, rankers, few, CANDIDATES) == {"substitute": 0, "complement": 0}
