"""`--fail-under`: figures below which a pipeline should stop."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmsc_cli.errors import GateError, InputError
from mmsc_cli.evaluate.protocol import SLICES
from mmsc_cli.metrics.retrieval import FIGURES
from mmsc_cli.tables.relations import RELATIONS

MODEL = "mmsc"
# Figures are compared as they are printed: nobody reads "is 0.5000 (required: >=0.5)".
DECIMALS = 4
_EXPRESSION = re.compile(r"(?P<path>[^<>=]+?)\s*(?P<operator>>=|>)\s*(?P<limit>[^<>=]+)")
_SYNTAX = (
    f"write RELATION.SLICE.FIGURE>=NUMBER (or >); relations: {', '.join(RELATIONS)}; "
    f"slices: {', '.join(SLICES)}; figures: {', '.join(FIGURES)}"
)


@dataclass(frozen=True)
class Gate:
    """A figure of the model that must reach (or, if `strict`, exceed) a limit."""

    relation: str
    slice: str
    figure: str
    limit: float
    strict: bool

    @property
    def path(self) -> str:
        """The figure, as in `substitute.all.ndcg@10`."""
        return f"{self.relation}.{self.slice}.{self.figure}"

    def holds(self, value: float) -> bool:
        """Whether a figure, rounded to DECIMALS, passes."""
        shown = round(value, DECIMALS)
        return shown > self.limit if self.strict else shown >= self.limit

    def __str__(self) -> str:
        return f"{self.path}{'>' if self.strict else '>='}{self.limit!r}"


def parse_gates(text: str) -> list[Gate]:
    """Read gates separated by commas, such as `substitute.all.ndcg@10>=0.5,complement.cold.hit@10>0.4`.

    Raises:
        InputError: there is no gate, or an expression has a typo; the hint names the valid paths.
    """
    return [_parse(part.strip()) for part in text.split(",")]


def check_gates(gates: list[Gate], models: Mapping[str, Any]) -> None:
    """Check gates against the `models` of an evaluation.

    Raises:
        GateError: naming every figure that is too low, or missing because its slice has no queries.
    """
    failures: list[str] = []
    for gate in gates:
        value = models[MODEL][gate.relation][gate.slice][gate.figure]
        if value is None:
            failures.append(f"{gate.path} has no value, because the slice has no queries (required: {gate})")
        elif not gate.holds(value):
            failures.append(f"{gate.path} is {value:.{DECIMALS}f} (required: {gate})")
    if failures:
        raise GateError("gate failed: " + "; ".join(failures))


def _parse(text: str) -> Gate:
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise InputError(f"--fail-under: {text!r} is not a gate", hint=_SYNTAX)
    path = match["path"].split(".")
    if len(path) != 3:
        raise InputError(f"--fail-under: {match['path']!r} is not a figure of the evaluation", hint=_SYNTAX)
    for part, known in zip(path, (RELATIONS, SLICES, FIGURES), strict=True):
        if part not in known:
            raise InputError(f"--fail-under: unknown {part!r} in {match['path']!r}", hint=_SYNTAX)
    relation, slice_name, figure = path
    return Gate(relation, slice_name, figure, _limit(match["limit"], text), strict=match["operator"] == ">")


def _limit(text: str, gate: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 <= limit <= 1:
        raise InputError(f"--fail-under: {text!r} in {gate!r} is not a number between 0 and 1", hint=_SYNTAX)
    return limit
