"""What `mmsc evaluate --fail-under` can be about: the figures of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmsc_cli.evaluate.protocol import MODEL, SLICES
from mmsc_cli.metrics.gates import AT_LEAST, Gate, Grammar, check_gates
from mmsc_cli.metrics.retrieval import FIGURES
from mmsc_cli.tables.relations import RELATIONS

GRAMMAR = Grammar({"relation": RELATIONS, "slice": SLICES, "figure": FIGURES}, AT_LEAST)


def check_model(gates: Sequence[Gate], models: Mapping[str, Any]) -> None:
    """Check gates against the `models` of an evaluation.

    Raises:
        GateError: naming every figure that is too low, or missing because its slice has no queries.
    """

    def figure(path: str) -> float | None:
        relation, part, name = path.split(".")
        value: float | None = models[MODEL][relation][part][name]
        return value

    check_gates(gates, figure, missing="the slice has no queries")
