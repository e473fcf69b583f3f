"""Proposals about product types, as the student reads them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from mmsc_cli.label.product_types import ProductTypes, as_table
from mmsc_cli.rules.pair_rules import PairRules
from mmsc_cli.tables.proposals import ProposedTypes
from mmsc_cli.train.inputs import Plan, read_inputs
from mmsc_cli.train.known import Catalogue, Known
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.student.views import PairViews
from mmsc_cli.workspace.workspace import Workspace

ITEMS = pa.table({"category": [["Camera"], ["Case"], ["Case"], [], ["Lens"]], "title": ["a", "b", "c", "d", "e"]})


def proposed() -> ProposedTypes:
    types = ProductTypes.of_catalogue(ITEMS)
    camera, case = types.paths.index(("Camera",)), types.paths.index(("Case",))
    proposals = [(camera, case, "complement", 0.5), (case, camera, "complement", 0.75), (case, case, "substitute", 1.0)]
    return ProposedTypes(as_table(types, proposals, "model"), ITEMS)  # type: ignore[arg-type]


def test_types_are_related_in_either_direction_and_others_not_at_all() -> None:
    weights = proposed().weights(np.array([0, 2, 1, 0, 3, 3]), np.array([1, 0, 2, 4, 0, 3]))
    expected = np.array([[0, 0.75], [0, 0.75], [1, 0], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_allclose(weights, expected)


def test_the_student_sees_them_beside_what_the_items_are(prepared: Workspace) -> None:
    inputs = read_inputs(prepared, Plan(1))
    types = ProductTypes.of_catalogue(inputs.items)
    every = [(a, b, "complement", 0.5) for a in range(len(types)) for b in range(len(types))]
    visible = inputs.training()
    evidence = Evidence(Known(Catalogue(inputs.features, visible.has_behaviour, 5), visible, 20))
    rules, a, b = PairRules(inputs.items), np.arange(5), np.arange(5, 10)
    without = PairViews(evidence, rules, 16).metadata(a, b)
    table = as_table(types, every, "model")  # type: ignore[arg-type]
    asked = replace(inputs, proposed=ProposedTypes(table, inputs.items))
    view = PairViews(evidence, rules, 16, asked.proposed).metadata(a, b)
    np.testing.assert_array_equal(view[:, : without.shape[1]], without)
    np.testing.assert_array_equal(view[:, without.shape[1] :], np.array([[0, 0.5]] * 5))
