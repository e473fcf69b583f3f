"""`--fail-under`: limits on figures at which a pipeline should stop."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmsc_cli.errors import GateError, InputError

# Figures are compared as they are printed: nobody reads "is 0.5000 (required: >=0.5)".
DECIMALS = 4
Operator = Callable[[float, float], bool]
AT_LEAST: dict[str, Operator] = {">=": operator.ge, ">": operator.gt}
AT_MOST: dict[str, Operator] = {"<=": operator.le, "<": operator.lt}
_EXPRESSION = re.compile(r"(?P<path>[^<>=]+?)\s*(?P<operator>[<>]=?)\s*(?P<limit>[^<>=]+)")


@dataclass(frozen=True)
class Grammar:
    """What a gate can be written about: the words allowed at each place of a path, and the operators."""

    places: Mapping[str, Sequence[str]]
    operators: Mapping[str, Operator]

    def hint(self) -> str:
        """How to write a gate."""
        path = ".".join(name.upper() for name in self.places)
        first, other = self.operators
        words = [f"{name}s: {', '.join(known)}" for name, known in self.places.items()]
        return f"write {path}{first}NUMBER (or {other}); " + "; ".join(words)


@dataclass(frozen=True)
class Gate:
    """A figure, as in `substitute.all.ndcg@10`, and the limit that it must keep."""

    path: str
    operator: str
    limit: float

    def holds(self, value: float) -> bool:
        """Whether a figure, rounded to DECIMALS, passes."""
        return (AT_LEAST | AT_MOST)[self.operator](round(value, DECIMALS), self.limit)

    def __str__(self) -> str:
        return f"{self.path}{self.operator}{self.limit!r}"


def parse_gates(text: str, grammar: Grammar) -> list[Gate]:
    """Read gates separated by commas, such as `substitute.all.ndcg@10>=0.5,complement.cold.hit@10>0.4`.

    Raises:
        InputError: there is no gate, or an expression has a typo; the hint names the valid paths.
    """
    return [_parse(part.strip(), grammar) for part in text.split(",")]


def check_gates(gates: Sequence[Gate], figures: Callable[[str], float | None], missing: str) -> None:
    """Check gates.

    Args:
        gates: the gates.
        figures: the figure of a path; None if it has no value.
        missing: why a figure may have no value.

    Raises:
        GateError: naming every figure beyond its limit, or without a value.
    """
    failures: list[str] = []
    for gate in gates:
        value = figures(gate.path)
        if value is None:
            failures.append(f"{gate.path} has no value, because {missing} (required: {gate})")
        elif not gate.holds(value):
            failures.append(f"{gate.path} is {value:.{DECIMALS}f} (required: {gate})")
    if failures:
        raise GateError("gate failed: " + "; ".join(failures))


def _parse(text: str, grammar: Grammar) -> Gate:
    match = _EXPRESSION.fullmatch(text)
    if match is None or match["operator"] not in grammar.operators:
        raise InputError(f"--fail-under: {text!r} is not a gate", hint=grammar.hint())
    path = match["path"].split(".")
    if len(path) != len(grammar.places):
        raise InputError(f"--fail-under: {match['path']!r} is no known figure", hint=grammar.hint())
    for part, known in zip(path, grammar.places.values(), strict=True):
        if part not in known:
            raise InputError(f"--fail-under: unknown {part!r} in {match['path']!r}", hint=grammar.hint())
    return Gate(match["path"], match["operator"], _limit(match["limit"], text, grammar))


def _limit(text: str, gate: str, grammar: Grammar) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 <= limit <= 1:
        raise InputError(f"--fail-under: {text!r} in {gate!r} is not a number between 0 and 1", hint=grammar.hint())
    return limit
