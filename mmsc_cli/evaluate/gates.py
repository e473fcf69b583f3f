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
_EXPRESSION = re.compile(r"(?P<path>[^<>=]+?)\s*(?P<operator>>=|>)\s*(?P<limit>[^<>=]+)")
_KNOWN = (
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

    def __str__(self) -> str:
        return f"{self.relation}.{self.slice}.{self.figure}{'>' if self.strict else '>='}{self.limit:g}"


def parse_gates(text: str) -> list[Gate]:
    """Read gates separated by commas, such as `substitute.all.ndcg@10>=0.5,complement.cold.hit@10>0.4`.

    Raises:
        InputError: an expression has a typo; the hint names the paths there are.
    """
    return [_parse(part.strip()) for part in text.split(",")]


def check_gates(gates: list[Gate], models: Mapping[str, Any]) -> None:
    """Check gates against the `models` of an evaluation.

    Raises:
        GateError: naming every figure that is too low, or that an empty slice does not have.
    """
    failures: list[str] = []
    for gate in gates:
        value = models[MODEL][gate.relation][gate.slice][gate.figure]
        name = f"{gate.relation}.{gate.slice}.{gate.figure}"
        if value is None:
            failures.append(f"{name} has no value, because the slice has no queries (asked: {gate})")
        elif not (value > gate.limit if gate.strict else value >= gate.limit):
            failures.append(f"{name} is {value:.4f} (asked: {gate})")
    if failures:
        raise GateError("gate failed: " + "; ".join(failures))


def _parse(text: str) -> Gate:
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise InputError(f"--fail-under: {text!r} is not a gate", hint=_KNOWN)
    path = match["path"].split(".")
    if len(path) != 3:
        raise InputError(f"--fail-under: {match['path']!r} is not a figure of the evaluation", hint=_KNOWN)
    for part, known in zip(path, (RELATIONS, SLICES, FIGURES), strict=True):
        if part not in known:
            raise InputError(f"--fail-under: unknown {part!r} in {match['path']!r}", hint=_KNOWN)
    relation, slice_name, figure = path
    return Gate(relation, slice_name, figure, _limit(match["limit"], text), strict=match["operator"] == ">")


def _limit(text: str, gate: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 <= limit <= 1:
        raise InputError(f"--fail-under: {text!r} in {gate!r} is not a number between 0 and 1", hint=_KNOWN)
    return limit
