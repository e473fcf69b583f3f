"""How the index is stored: strings, sparse rows, and a safetensors file that is mapped, not copied."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_keys
from mmsc_cli.errors import UnknownItemError
from mmsc_cli.files.item_fields import spellings
from mmsc_cli.index.soundness import check_columns, damaged_index
from mmsc_cli.workspace.regular_file import open_regular

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U8": np.uint8}
PATH_SEPARATOR = " > "
# What a file raises whose header says of its tensors what cannot be.
DAMAGE = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)
_PAIRS_AT_A_TIME = 4_096
# Texts of a part of a sorted list, of which the first is kept in memory.
_PART = 16
# Characters of an unknown id that a message shows and looks up: it may be of any length.
_LONGEST_SHOWN = 100
# Zeros before a number that an unknown id is looked up with.
_MOST_ZEROS = 12


def _other_forms(text: str) -> dict[str, None]:
    """An id in other cases, without the zeros before its first number, and with so many more of them."""
    text = text.strip()
    digits = re.sub(r"^\D*0*", "", text)
    head = text[: len(text) - len(digits)].rstrip("0")
    padded = [head + "0" * count + digits for count in range(_MOST_ZEROS + 1)] if digits[:1].isdigit() else [text]
    return dict.fromkeys(form for one in padded for form in (one, one.upper(), one.lower(), one.capitalize()))


@dataclass(frozen=True)
class SparseRows:
    """Rows of a sparse (n_items, n_items) matrix; `values` is None if only the pattern matters.

    With a `change`, a value is that of `values` plus `share` of that of `change`.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32] | None = None
    change: NDArray[np.float32] | None = None
    share: float = 0.0

    def row(self, number: int) -> slice:
        """The slice of `indices` and `values` that holds a row."""
        start, stop = int(self.indptr[number]), int(self.indptr[number + 1])
        if not 0 <= start <= stop <= len(self.indices):
            raise damaged_index("rows do not follow one another")
        return slice(start, stop)

    def lengths(self) -> NDArray[np.int64]:
        """The number of entries of each row, (n_items,), for those who use all rows at once."""
        lengths = np.diff(self.indptr)
        if lengths.min(initial=0) < 0:
            raise damaged_index("rows do not follow one another")
        return lengths

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of every entry, (entries,) each."""
        lengths = self.lengths()
        rows = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
        return rows, check_columns(self.indices, len(lengths)).astype(np.int64)

    def row_sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The sum of the entries' values (entries,) in each row, (n_items,)."""
        self.lengths()
        total = np.concatenate([[0], np.cumsum(values, dtype=np.float64)])
        if not np.isfinite(total[-1]):
            raise damaged_index("values of pairs are not finite numbers")
        return np.diff(total[self.indptr])

    def columns(self, number: int) -> NDArray[np.int32]:
        """Columns of a row."""
        return check_columns(self.indices[self.row(number)], len(self.indptr) - 1)

    def entries(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Columns and values of a row."""
        entries = self.row(number)
        return check_columns(self.indices[entries], len(self.indptr) - 1), self._at(entries)

    def values_at(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        """The values at pairs of a row and a column, (n_pairs,); 0 where there is no entry."""
        values = np.zeros(len(rows), np.float32)
        for start in range(0, len(rows), _PAIRS_AT_A_TIME):
            row, column = rows[start : start + _PAIRS_AT_A_TIME], columns[start : start + _PAIRS_AT_A_TIME]
            begin, lengths = self._extents(row)
            # All entries of all these rows: which pair each belongs to, and its position.
            pair = np.repeat(np.arange(len(row)), lengths)
            position = np.repeat(begin - np.cumsum(lengths) + lengths, lengths) + np.arange(len(pair))
            matches = self.indices[position] == column[pair]
            values[start + pair[matches]] = self._at(position[matches])
        return values

    def values_in(
        self, rows: NDArray[np.int64], places: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The values of many columns of each row, (n_wanted,); 0 where there is no entry.

        `values_at` reads a row for each pair, this once: each of `rows` is another one, `places` (n_wanted,) are among
        them.
        """
        begin, lengths = self._extents(rows)
        own = np.repeat(np.arange(len(rows)), lengths)
        position = np.repeat(begin - np.cumsum(lengths) + lengths, lengths) + np.arange(len(own))
        n_items = len(self.indptr) - 1
        found = find_keys(own * n_items + check_columns(self.indices[position], n_items), places * n_items + columns)
        values = np.zeros(len(columns), np.float32)
        values[found >= 0] = self._at(position[found[found >= 0]])
        return values

    def _extents(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the entries of rows begin, and how many there are, (n_rows,) each."""
        begin, lengths = self.indptr[rows], self.indptr[rows + 1] - self.indptr[rows]
        if len(rows) and (lengths.min() < 0 or begin.min() < 0 or (begin + lengths).max() > len(self.indices)):
            raise damaged_index("rows do not follow one another")
        return begin, lengths

    def _at(self, entries: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        assert self.values is not None
        if self.change is None:
            return self.values[entries]
        mixed: NDArray[np.float32] = self.values[entries] + np.float32(self.share) * self.change[entries]
        return mixed

    def entry(self, number: int, column: int) -> int | None:
        """The position of an entry in `indices` and `values`, None if there is none."""
        entries = self.row(number)
        matches = np.flatnonzero(self.indices[entries] == column)
        return entries.start + int(matches[0]) if len(matches) else None


@dataclass(frozen=True)
class LabelRows:
    """Labels of pairs: per entry of `rows`, probabilities (n_labels, 3) by CLASSES and the number of the annotator."""

    rows: SparseRows
    probabilities: NDArray[np.float32]
    model: NDArray[np.int32]


@dataclass(frozen=True)
class Vectors:
    """Query and key vectors (n_items, dim) and the linear branch of one relation."""

    query: NDArray[np.float32]
    key: NDArray[np.float32]
    linear: SparseRows


class Strings(Sequence[str]):
    """A list of strings, stored as bytes and offsets and decoded one by one."""

    def __init__(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._data = data
        self._offsets = offsets
        # Views give numbers and bytes without making arrays of them.
        self._views = data.data, offsets.data

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: Any) -> Any:
        data, offsets = self._views
        start, stop = offsets[row], offsets[row + 1]
        if not 0 <= start <= stop <= len(data):
            raise damaged_index("texts do not follow one another")
        try:
            return str(data[start:stop], "utf-8")
        except UnicodeDecodeError as error:
            raise damaged_index("a text is not UTF-8") from error

    def __contains__(self, text: object) -> bool:
        """Whether a sorted list holds a text."""
        return isinstance(text, str) and self.exact(text) is not None

    def exact(self, text: str) -> int | None:
        """The row of a text in a sorted list; None where it is not there."""
        row = self.position(text)
        return row if row < len(self) and self[row] == text else None

    def position(self, text: str) -> int:
        """The position that `text` has, or would have, in a sorted list; by binary search."""
        wanted = text.encode(errors="surrogatepass")  # UTF-8 sorts as the texts do
        part = bisect_left(self._signposts, wanted)
        start, stop = max(0, (part - 1) * _PART), min(part * _PART, len(self))
        return bisect_left(range(len(self)), wanted, start, stop, key=self._encoded)

    def _encoded(self, row: int) -> bytes:
        data, offsets = self._views
        return bytes(data[offsets[row] : offsets[row + 1]])

    @cached_property
    def _signposts(self) -> list[bytes]:
        """The first text of each part of a sorted list, which a search looks at first, in memory of its own."""
        return [self._encoded(row) for row in range(0, len(self), _PART)]

    def find(self, item_id: str) -> int:
        """The row of an id in a sorted list, as typed, else as a catalogue writes it.

        Raises:
            UnknownItemError: it is not there; the hint names the same id in another case or with other zeros before it,
                else the nearest ids.
        """
        for spelling in spellings(item_id):
            if (row := self.exact(spelling)) is not None:
                return row
        shown = item_id[:_LONGEST_SHOWN]
        if same := [text for text in _other_forms(shown) if text in self]:
            raise UnknownItemError(f"unknown item {shown!r}", f"did you mean {' or '.join(same)}?", same)
        nearest = self._nearest(shown)
        raise UnknownItemError(f"unknown item {shown!r}", f"nearest ids: {', '.join(nearest)}", nearest)

    def _nearest(self, item_id: str, count: int = 3) -> list[str]:
        """The known ids that are most similar to a mistyped one.

        Candidates are its neighbours in sorted order, and ids of its length that differ in few characters.
        """
        position = self.position(item_id)
        rows = {*range(max(0, position - 50), min(len(self), position + 50)), *self.alike(item_id, 50)}
        candidates = [self[row] for row in sorted(rows)]
        return get_close_matches(item_id, candidates, n=count, cutoff=0) or candidates[:count]

    def alike(self, text: str, count: int) -> list[int]:
        """Rows of the `count` strings of the same length that share most characters with `text`, place by place."""
        wanted = np.frombuffer(text.encode(errors="surrogateescape"), np.uint8)
        rows = np.flatnonzero(self._lengths() == len(wanted))
        letters = self._data[self._offsets[rows, None] + np.arange(len(wanted))]
        agreeing = np.count_nonzero(letters == wanted, axis=1)
        return [int(row) for row in rows[np.argsort(-agreeing, kind="stable")[:count]]]

    def among(self, wanted: Collection[str]) -> NDArray[np.bool_]:
        """Mask (n_strings,) of the strings that are in `wanted`."""
        self._lengths()
        data, encoded = self._data.tobytes(), {text.encode(errors="surrogateescape") for text in wanted}
        ends = pairwise(self._offsets.tolist())
        return np.fromiter((data[start:stop] in encoded for start, stop in ends), np.bool_, len(self))

    def _lengths(self) -> NDArray[np.int64]:
        """Bytes of each string, (n_strings,), for those who look at all at once."""
        lengths = np.diff(self._offsets)
        if len(lengths) and not (lengths.min() >= 0 <= self._offsets[0] and self._offsets[-1] <= len(self._data)):
            raise damaged_index("texts do not follow one another")
        return lengths

    def packed(self) -> bytes:
        """All bytes of the list, which no other list has."""
        return self._offsets.tobytes() + self._data.tobytes()

    @classmethod
    def of(cls, strings: Sequence[str]) -> Strings:
        """A list of strings, packed."""
        return cls(*cls.pack(strings))

    @staticmethod
    def pack(strings: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Bytes and offsets of a list of strings."""
        encoded = [text.encode() for text in strings]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets


def model_of(path: Path) -> str | None:
    """The model that a safetensors file of ours belongs to, from its header; None if it names none.

    Raises:
        ValueError: the file has no valid header.
        OSError: it cannot be read.
    """
    model: str | None = _header(path)[1].get("__metadata__", {}).get("model")
    return model


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the data of a safetensors file starts, and its header: 8 bytes of length, then JSON."""
    with open_regular(path) as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size - 8:
            raise ValueError(f"{path.name} has no valid header")
        header = json.loads(file.read(size))
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise ValueError(f"{path.name} has no valid header")
    return 8 + size, header


def map_tensors(path: Path, expected_bytes: int) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Map the tensors of a safetensors file; also return what it says of itself.

    Raises:
        ValueError: it is of another size, or damaged.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size != expected_bytes:
        raise ValueError(f"{path.name} has {size} bytes, {expected_bytes} were written")
    start, header = _header(path)
    # As a plain array: each look into a memmap makes another memmap, which takes microseconds.
    data = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    about = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = data[start + begin : start + end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, about
