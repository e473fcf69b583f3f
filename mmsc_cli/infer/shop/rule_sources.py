"""Where rules of the shop are written: in a file of separated values, or in the recipe that `prepare` recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, get_args

from mmsc_cli.errors import InputError
from mmsc_cli.files.separated import (
    LONGEST_RECORD,
    Dialect,
    column_names,
    sniff_separator,
    text_lines,
    undecodable_place,
)
from mmsc_cli.index.shop_rules import RuleKind, ShopRule
from mmsc_cli.tables.relations import RELATIONS

RULE_COLUMNS = ("rule", "item", "category", "query", "query_category", "relation", "place", "factor")
_KINDS: tuple[RuleKind, ...] = get_args(RuleKind)
# What others call a column.
_MEANT = {**dict.fromkeys(("action", "kind", "type"), "rule"), **dict.fromkeys(("position", "rank"), "place")}
# Each takes half a kilobyte of memory wherever answers are given.
MOST_RULES = 500_000
# Wrong lines of a file that one message names.
_SHOWN = 5


def read_rules(path: Path) -> list[ShopRule]:
    """Read a file of rules: separated values with a header, in which RULE_COLUMNS may be in any order or missing.

    An empty file has no rules.

    Raises:
        InputError: there is no such file, or it is none of rules; all wrong lines are named.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as error:
        hint = f"write one with the header {','.join(RULE_COLUMNS)}"
        raise InputError(f"no file of rules at {path}", hint=hint) from error


def _read(file: BinaryIO, path: Path) -> list[ShopRule]:
    rules: list[ShopRule] = []
    wrong: list[str] = []
    n_wrong = 0
    try:
        first = next((line for line in text_lines(file) if line.strip()), None)
        if first is None:
            return []
        rows = Dialect(sniff_separator(first)).read(text_lines(file))
        header = _header(path, next(rows)[1])
        for number, row in rows:
            try:
                values = _values(header, row, f"{path}:{number}")
                if values:
                    rules.append(_rule(values, f"{path}:{number}"))
            except InputError as error:
                n_wrong += 1
                wrong += [error.message] * (len(wrong) < _SHOWN)
            if len(rules) > MOST_RULES:
                raise InputError(f"{path}: more than {MOST_RULES:,} rules", hint="give rules of categories")
    except UnicodeDecodeError as error:
        file.seek(0)
        place = undecodable_place(iter(lambda: file.readline(LONGEST_RECORD), b""))
        raise InputError(f"{path}: {place}", hint="save it as UTF-8") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}", hint="write it as CSV") from error
    if wrong:
        more = [f"and {n_wrong - _SHOWN:,} more lines"] if n_wrong > _SHOWN else []
        raise InputError("\n".join([*wrong, *more]), hint=f"columns: {','.join(RULE_COLUMNS)}")
    return rules


def _values(header: Sequence[str], row: Sequence[str], place: str) -> dict[str, str]:
    if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
        raise InputError(f"{place}: {len(row)} fields, {len(header)} columns")
    return {name: cell.strip() for name, cell in zip(header, row, strict=False) if cell.strip()}


def recorded_rules(manifest: Mapping[str, Any] | None) -> list[ShopRule]:
    """The rules of the recipe that a workspace's manifest records."""
    recipe = (manifest or {}).get("stages", {}).get("prepare", {}).get("config", {}).get("recipe") or {}
    written: Mapping[str, Sequence[Mapping[str, Any]]] = recipe.get("rules") or {}
    return [
        ShopRule(kind, **rule, origin=f"rules.{kind} {number} of the recipe")
        for kind in _KINDS
        for number, rule in enumerate(written.get(kind, []), start=1)
    ]


def _header(path: Path, row: Sequence[str]) -> list[str]:
    names = column_names(row)
    for name in names:
        if name not in RULE_COLUMNS:
            close = [_MEANT[name]] if name in _MEANT else get_close_matches(name, RULE_COLUMNS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"columns: {','.join(RULE_COLUMNS)}"
            raise InputError(f"{path}: rules have no column {name!r}", hint=hint)
    if "rule" not in names or len(set(names)) < len(names):
        what = "a column twice" if "rule" in names else "no column rule"
        raise InputError(f"{path}: the header has {what}", hint=f"columns: {','.join(RULE_COLUMNS)}")
    return names


def _rule(values: Mapping[str, str], place: str) -> ShopRule:
    kind = next((kind for kind in _KINDS if kind == values.get("rule")), None)
    if kind is None:
        raise InputError(f"{place}: rule {values.get('rule', '')!r} is not one of {', '.join(_KINDS)}")
    relation = next((one for one in (*RELATIONS, "both") if one == values.get("relation", "both")), None)
    if relation is None:
        raise InputError(f"{place}: relation {values['relation']!r} is not one of {', '.join(RELATIONS)}, both")
    names = {name: values.get(name) for name in ("item", "category", "query", "query_category")}
    return ShopRule(
        kind,
        **names,
        relation=relation,  # type: ignore[arg-type]
        place=_number(values, "place", int, place),
        factor=_number(values, "factor", float, place),
        origin=place,
    )


def _number(values: Mapping[str, str], name: str, kind: type, place: str) -> Any:
    try:
        return kind(values[name]) if name in values else None
    except ValueError:
        raise InputError(f"{place}: {name} {values[name]!r} is not a number") from None
