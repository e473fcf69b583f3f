"""`kept.safetensors`: columns of the source that the recipe keeps, for filters and for answers that show them.

A column of texts is a number per item (`text:NAME.codes`, int32, -1 without a value) in the sorted list of its values
(`text:NAME.values.bytes`, `.offsets`); a column of numbers is `number:NAME` (n_items,) float64, NaN without a value.
The file is mapped, so that a million items open as fast as a hundred, and numpy alone reads it. It says which ids its
rows belong to, as `prepare` may have made it for another catalogue than the index has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.index.storage import DAMAGE, Strings, map_tensors
from mmsc_cli.runtime.os_errors import writing
from mmsc_cli.workspace.checksums import check_at_a_glance

NAME = "kept.safetensors"
_AGAIN = "run `mmsc prepare SOURCE` again"
# A number as files write it; `007` is none, as it may be a code.
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
# Whole numbers up to here are exact in float64.
_MOST_WHOLE = 2**53
# The share of cells that are no numbers, up to which a column was likely meant to be one of numbers.
_MOST_ODD = 0.2
_SHOWN = 3
_SIGN = re.compile("!=|[<>]=?|=")
_ORDERS: dict[str, Callable[[NDArray[np.float64], float], NDArray[np.bool_]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
    "!=": np.not_equal,
}


@dataclass(frozen=True)
class Condition:
    """What an item must have in a kept column."""

    column: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition such as `colour=red`, `colour!=red` or `weight<=2.5`.

        Raises:
            InputError: it is none.
        """
        found = _SIGN.search(text)
        column, value = (text[: found.start()].strip(), text[found.end() :].strip()) if found else ("", "")
        if found is None or not column or not value or "!" in column:
            raise InputError(
                f"--where {text}: not a condition", hint="for example --where colour=red, or --where 'weight<=2.5'"
            )
        return cls(column, found[0], value)

    def __str__(self) -> str:
        return f"{self.column}{self.sign}{self.value}"


@dataclass(frozen=True)
class TextColumn:
    """A kept column of texts: a code per item, -1 without a value, and the sorted values."""

    codes: NDArray[np.int32]
    values: Strings

    def passes(self, condition: Condition) -> NDArray[np.bool_]:
        """Which items (n_items,) fulfil a condition; an item without a value fulfils none."""
        if condition.sign not in ("=", "!="):
            raise InputError(
                f"--where {condition}: {condition.column} holds texts, which are not more or less than others",
                hint=f"use = or !=, for example --where {condition.column}={self.values[0]}"
                if len(self.values)
                else "use = or !=",
            )
        code = self.values.position(condition.value)
        if not (code < len(self.values) and self.values[code] == condition.value):
            code = len(self.values)
        same: NDArray[np.bool_] = self.codes == code
        return same if condition.sign == "=" else ~same & (self.codes >= 0)

    def nearest(self, text: str) -> list[str]:
        """The values most like a text that is none of them."""
        lower = {value.lower(): value for value in self.values}
        return [lower[found] for found in get_close_matches(text.lower(), lower, n=3, cutoff=0.5)]

    def of(self, row: int) -> str | None:
        """The value of an item."""
        code = int(self.codes[row])
        return None if code < 0 else str(self.values[code])


@dataclass(frozen=True)
class NumberColumn:
    """A kept column of numbers, NaN without a value."""

    numbers: NDArray[np.float64]

    def passes(self, condition: Condition) -> NDArray[np.bool_]:
        """Which items (n_items,) fulfil a condition; an item without a value fulfils none."""
        try:
            number = float(condition.value)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise InputError(
                f"--where {condition}: {condition.column} holds numbers, and {condition.value!r} is none",
                hint=f"for example --where '{condition.column}<=10'",
            )
        passing: NDArray[np.bool_] = _ORDERS[condition.sign](self.numbers, number) & ~np.isnan(self.numbers)
        return passing

    def of(self, row: int) -> float | int | None:
        """The value of an item; a whole number as an int, as the source writes it."""
        number = float(self.numbers[row])
        if not math.isfinite(number):
            return None
        return int(number) if abs(number) < _MOST_WHOLE and number.is_integer() else number


KeptColumn = TextColumn | NumberColumn


class KeptColumns:
    """The kept columns of a workspace, by name, for the items of one index."""

    def __init__(self, path: Path, ids: Strings) -> None:
        """Map the file, if there is one; what is wrong with it is said when it is first asked."""
        self._ids = ids
        self._wrong: str | None = None
        self._tensors: Mapping[str, NDArray[Any]] = {}
        self._belongs_to: str | None = None
        try:
            size = path.stat().st_size
            check_at_a_glance(path.parent, "prepare", [path.name])
            self._tensors, about = map_tensors(path, size)
            self._belongs_to = about.get("ids")
        except FileNotFoundError:
            pass
        except WorkspaceError as error:
            self._wrong = error.message
        except (OSError, *DAMAGE) as error:
            self._wrong = f"{path} is damaged: {error}"

    @cached_property
    def names(self) -> list[str]:
        """The names of the columns.

        Raises:
            WorkspaceError: the file is damaged, or of other items than the index.
        """
        if self._wrong is not None:
            raise WorkspaceError(self._wrong, hint=_AGAIN)
        if self._tensors and self._belongs_to != ids_digest(self._ids):
            raise WorkspaceError(
                "the kept columns are of another catalogue than the index", hint="run `mmsc encode`, then `mmsc train`"
            )
        names = {}
        for name in self._tensors:
            kind, _, rest = name.partition(":")
            names[rest if kind == "number" else rest.removesuffix(".codes")] = kind == "number" or ".codes" in name
        return sorted(name for name, is_column in names.items() if is_column)

    def column(self, name: str) -> KeptColumn:
        """A column.

        Raises:
            InputError: the recipe does not keep it; the hint names the nearest that it keeps.
            WorkspaceError: the file is damaged, or of other items than the index.
        """
        if name not in self.names:
            raise self._unknown(name)
        n_items = len(self._ids)
        numbers = self._tensors.get(f"number:{name}")
        parts = [self._tensors.get(f"text:{name}.{part}") for part in ("codes", "values.bytes", "values.offsets")]
        codes, data, offsets = parts
        if numbers is not None and _is(numbers, "f", n_items):
            return NumberColumn(numbers)
        if _is(codes, "i", n_items) and _is(data, "u") and _is(offsets, "i") and len(offsets):
            values = Strings(data, offsets)
            if -1 <= codes.min(initial=-1) <= codes.max(initial=-1) < len(values):
                return TextColumn(codes, values)
        raise WorkspaceError(f"the kept column {name} is damaged", hint=_AGAIN)

    def passes(self, conditions: Iterable[Condition]) -> tuple[NDArray[np.bool_], list[str]]:
        """Which items (n_items,) fulfil all conditions, and doubts about values that no item has.

        Of several `=` on one column, one must be fulfilled.

        Raises:
            InputError: a column is not kept, or a value is not of its kind.
            WorkspaceError: the file is damaged, or of other items than the index.
        """
        every, nothing = np.ones(len(self._ids), np.bool_), np.zeros(len(self._ids), np.bool_)
        any_of: dict[str, NDArray[np.bool_]] = {}
        doubts = []
        for condition in conditions:
            column = self.column(condition.column)
            found = column.passes(condition)
            if condition.sign == "=":
                if isinstance(column, TextColumn) and not found.any():
                    nearest = column.nearest(condition.value)
                    meant = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
                    doubts.append(f"--where {condition}: no item has this value{meant}")
                any_of[condition.column] = any_of.get(condition.column, nothing) | found
            else:
                every &= found
        for found in any_of.values():
            every &= found
        return every, doubts

    def _unknown(self, name: str) -> InputError:
        if not self.names:
            return InputError(
                f"no column {name!r} is kept",
                hint=f'name it in the recipe, keep = ["{name}"] under [source], and prepare',
            )
        close = get_close_matches(name, self.names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"kept: {', '.join(self.names)}"
        return InputError(f"no column {name!r} is kept", hint=hint)


def _is(tensor: NDArray[Any] | None, kind: str, length: int | None = None) -> TypeGuard[NDArray[Any]]:
    """Whether there is a list of this kind of numbers (NumPy's letter), and of this length."""
    if tensor is None or tensor.ndim != 1 or tensor.dtype.kind != kind:
        return False
    return length is None or len(tensor) == length


def ids_digest(ids: Strings) -> str:
    """Names a list of ids."""
    return sha256(ids.packed()).hexdigest()


def write_kept_columns(path: Path, ids: Sequence[str], columns: Mapping[str, Sequence[str | None]]) -> list[str]:
    """Write the columns of a catalogue, and return doubts about columns of numbers that hold a few other cells.

    Args:
        path: where.
        ids: the items, in the order of their rows.
        columns: texts by the name of the column, one for each item. A column in which all are numbers is kept as such.
    """
    from safetensors.numpy import save_file  # noqa: PLC0415  answering does without it

    tensors: dict[str, NDArray[Any]] = {}
    doubts: list[str] = []
    for name, values in columns.items():
        if any(values) and all(value is None or _NUMBER.fullmatch(value) for value in values):
            numbers = [math.nan if value is None else float(value) for value in values]
            tensors[f"number:{name}"] = np.array(numbers, np.float64)
            continue
        doubts += _odd_cells(name, values)
        known = sorted({value for value in values if value is not None})
        code_of: dict[str | None, int] = {value: code for code, value in enumerate(known)}
        code_of[None] = -1
        tensors[f"text:{name}.codes"] = np.array([code_of[value] for value in values], np.int32)
        tensors[f"text:{name}.values.bytes"], tensors[f"text:{name}.values.offsets"] = Strings.pack(known)
    with writing(path):
        save_file(tensors, path, {"ids": ids_digest(Strings.of(ids))})
    return doubts


def _odd_cells(name: str, values: Sequence[str | None]) -> list[str]:
    """A doubt about a column of texts of which nearly all are numbers; digits after a zero are codes, not slips."""
    given = [value for value in values if value is not None]
    odd = [value for value in given if not _NUMBER.fullmatch(value)]
    slips = [value for value in odd if not value.isdigit()]
    if not slips or len(odd) > _MOST_ODD * len(given):
        return []
    shown = " or ".join(map(repr, sorted(set(slips))[:_SHOWN]))
    return [
        f"kept column {name}: no number in {len(odd):,} of {len(given):,} cells, such as {shown}, so all are kept as "
        f"texts, and conditions such as --where '{name}<=10' are refused; mend or empty these cells"
    ]
