"""The index: all that answering needs, in two files that numpy alone can read.

`index.safetensors` holds, per relation, `query` and `key` (items, dim) float32 and the linear branch as sparse rows
(`linear.indptr`, `linear.indices`, `linear.values`); the known training pairs (`known.indptr`, `known.indices`); item
ids in sorted order and titles, as UTF-8 bytes with offsets. It is memory-mapped: nothing is loaded that is not
touched. `index.json` says how large it must be, which model made it, and how scores become probabilities.

What filters and explanations read may be absent (`Index.optional`): `price` (items,) float32, NaN unknown; `category`
(items,) int32, a number in the sorted list `categories` of whole paths, -1 unknown; aligned with `known.indices`,
`known.strength.RELATION` and `known.reliability.RELATION` float32; labels as sparse rows (`labels.indptr`,
`labels.indices`, `labels.probabilities` (labels, 3), `labels.model` numbers in `label_models` of `index.json`); `gate`
(items, relations x sides, channels) float16.

score(i, j) = query[i] . key[j] + linear[i, j]
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import UnknownItemError, WorkspaceError
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.os_errors import writing
from mmsc_cli.tables.relations import RELATIONS, Relation

FORMAT_VERSION = 1
DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U8": np.uint8}
PATH_SEPARATOR = " > "
# An id that is not in the catalogue may be anything; a message shows, and looks up, so many characters of it.
LONGEST_SHOWN = 100


@dataclass(frozen=True)
class SparseRows:
    """Rows of a sparse (items, items) matrix; `values` is None where only the pattern matters."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32] | None = None

    def row(self, number: int) -> slice:
        """Where the entries of a row lie in `indices` and `values`."""
        return slice(int(self.indptr[number]), int(self.indptr[number + 1]))

    def entries(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Columns and values of a row."""
        assert self.values is not None
        entries = self.row(number)
        return self.indices[entries], self.values[entries]

    def entry(self, number: int, column: int) -> int | None:
        """Where an entry lies in `indices` and `values`, None where there is none."""
        entries = self.row(number)
        found = np.flatnonzero(self.indices[entries] == column)
        return entries.start + int(found[0]) if len(found) else None


@dataclass(frozen=True)
class LabelRows:
    """Annotators' opinions of pairs: entry by entry of `rows`, probabilities (labels, 3) by CLASSES and who said so."""

    rows: SparseRows
    probabilities: NDArray[np.float32]
    model: NDArray[np.int32]


@dataclass(frozen=True)
class Vectors:
    """What scores one relation."""

    query: NDArray[np.float32]
    key: NDArray[np.float32]
    linear: SparseRows


class Strings(Sequence[str]):
    """A list of strings kept as bytes and offsets, read one by one."""

    def __init__(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._data = data
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: Any) -> Any:
        start, stop = self._offsets[row], self._offsets[row + 1]
        return self._data[start:stop].tobytes().decode()

    def place(self, text: str) -> int:
        """Where `text` stands, or would stand, in a sorted list; by binary search."""
        return bisect_left(self, text)

    def alike(self, text: str, count: int) -> list[int]:
        """Rows of the `count` strings of the same length that agree with `text` in most places."""
        wanted = np.frombuffer(text.encode(errors="surrogateescape"), np.uint8)
        rows = np.flatnonzero(np.diff(self._offsets) == len(wanted))
        letters = self._data[self._offsets[rows, None] + np.arange(len(wanted))]
        agreeing = np.count_nonzero(letters == wanted, axis=1)
        return [int(row) for row in rows[np.argsort(-agreeing, kind="stable")[:count]]]

    def among(self, wanted: Collection[str]) -> NDArray[np.bool_]:
        """Which of the strings are wanted, (strings,)."""
        data, encoded = self._data.tobytes(), {text.encode(errors="surrogateescape") for text in wanted}
        ends = pairwise(self._offsets.tolist())
        return np.fromiter((data[start:stop] in encoded for start, stop in ends), np.bool_, len(self))

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


class Index:
    """An opened index."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], about: dict[str, Any]) -> None:
        self.about = about
        self.ids = Strings(tensors["ids.bytes"], tensors["ids.offsets"])
        self.titles = Strings(tensors["titles.bytes"], tensors["titles.offsets"])
        self.known = SparseRows(tensors["known.indptr"], tensors["known.indices"])
        self._tensors = tensors
        self._vectors: dict[Relation, Vectors] = {
            relation: Vectors(
                tensors[f"{relation}.query"],
                tensors[f"{relation}.key"],
                SparseRows(*(tensors[f"{relation}.linear.{part}"] for part in ("indptr", "indices", "values"))),
            )
            for relation in RELATIONS
        }

    @classmethod
    def open(cls, folder: Path) -> Index:
        """Map an index.

        Raises:
            WorkspaceError: there is none, it is damaged, or of a newer format version.
        """
        mend = "run `mmsc train`"
        try:
            about = json.loads((folder / "index.json").read_bytes())
            if about["format_version"] > FORMAT_VERSION:
                raise WorkspaceError(f"{folder}: made by a newer mmsc", hint="upgrade with pip, or " + mend)
            tensors, model = _map(folder / "index.safetensors", about["bytes"])
            if model != about.get("model"):
                raise WorkspaceError(f"{folder}: index.safetensors and index.json are of two models", hint=mend)
            _check_ends(tensors)
            return cls(tensors, about)
        except FileNotFoundError as error:
            raise WorkspaceError(f"there is no index at {folder}", hint=mend) from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise WorkspaceError(f"{folder} is damaged: {error}", hint=mend + " again") from error

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, item_id: str) -> int:
        """Row of an item id, by binary search.

        Raises:
            UnknownItemError: it is not in the catalogue; the hint names the nearest ids.
        """
        place = self.ids.place(item_id)
        if place < len(self.ids) and self.ids[place] == item_id:
            return place
        shown = item_id[:LONGEST_SHOWN]
        raise UnknownItemError(f"unknown item {shown!r}", hint=f"nearest ids: {', '.join(self._nearest(shown))}")

    def title(self, item_id: str) -> str:
        """Title of an item.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        return str(self.titles[self.row(item_id)])

    def optional(self, name: str) -> NDArray[Any] | None:
        """A tensor that an index may lack, by its name in the file."""
        return self._tensors.get(name)

    @cached_property
    def categories(self) -> Strings:
        """Whole category paths, sorted, joined by PATH_SEPARATOR; none where the index knows none."""
        data, offsets = self.optional("categories.bytes"), self.optional("categories.offsets")
        return Strings.of([]) if data is None or offsets is None else Strings(data, offsets)

    @cached_property
    def labels(self) -> LabelRows | None:
        """Annotators' opinions; None where the model was trained without."""
        tensors = [self.optional(f"labels.{name}") for name in ("indptr", "indices", "probabilities", "model")]
        indptr, indices, probabilities, model = tensors
        if indptr is None or indices is None or probabilities is None or model is None:
            return None
        return LabelRows(SparseRows(indptr, indices), probabilities, model)

    def vectors(self, relation: Relation) -> Vectors:
        """Query and key vectors and the linear branch of a relation."""
        return self._vectors[relation]

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of the whole catalogue, (queries, items)."""
        vectors = self._vectors[relation]
        scores: NDArray[np.float32] = vectors.query[queries] @ vectors.key.T
        for place, query in enumerate(queries):
            items, values = vectors.linear.entries(int(query))
            scores[place, items] += values
        return scores

    def pair_scores(self, relation: Relation, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of pairs, (pairs,): the mean of both directions."""
        vectors = self._vectors[relation]
        scores = np.zeros(len(a), np.float32)
        for query, key in ((a, b), (b, a)):
            scores += np.einsum("ij,ij->i", vectors.query[query], vectors.key[key]) / 2
            scores += np.array([self._linear_entry(vectors.linear, *ends) for ends in zip(query, key, strict=True)]) / 2
        return scores

    @staticmethod
    def _linear_entry(linear: SparseRows, query: int, key: int) -> float:
        entry = linear.entry(int(query), int(key))
        assert linear.values is not None
        return 0.0 if entry is None else float(linear.values[entry])

    def _nearest(self, item_id: str, count: int = 3) -> list[str]:
        """Ids like a mistyped one: of its neighbours in sorted order, and of those that differ in few places."""
        from difflib import get_close_matches

        place = self.ids.place(item_id)
        rows = {*range(max(0, place - 50), min(len(self.ids), place + 50)), *self.ids.alike(item_id, 50)}
        around = [self.ids[row] for row in sorted(rows)]
        return get_close_matches(item_id, around, n=count, cutoff=0) or around[:count]


def write_index(folder: Path, tensors: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write an index; `about` gets the format version and the file's size. Its `model` is written into both files."""
    from safetensors.numpy import save_file

    path = folder / "index.safetensors"
    identity = {"model": about["model"]} if about.get("model") else None
    with writing(path):
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path, identity)
    write_json(folder / "index.json", {**about, "format_version": FORMAT_VERSION, "bytes": path.stat().st_size})


def model_of(path: Path) -> str | None:
    """Which model a safetensors file of ours belongs to, from its header; None where it does not say.

    Raises:
        ValueError: the file has no valid header.
        OSError: it cannot be read.
    """
    model: str | None = _header(path)[1].get("__metadata__", {}).get("model")
    return model


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the data of a safetensors file starts (8 bytes of length and a JSON header come first), and the header."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size - 8:
            raise ValueError(f"{path.name} has no valid header")
        return 8 + size, json.loads(file.read(size))


def _map(path: Path, expected_bytes: int) -> tuple[dict[str, NDArray[Any]], str | None]:
    """Map the tensors of a safetensors file, and say which model it belongs to."""
    size = path.stat().st_size
    if size != expected_bytes:
        raise ValueError(f"{path.name} has {size} bytes, {expected_bytes} were written")
    start, header = _header(path)
    data = np.memmap(path, dtype=np.uint8, mode="r")
    model = header.pop("__metadata__", {}).get("model")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = data[start + begin : start + end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, model


def _check_ends(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Refuse offsets that do not end where their data does, as in a file whose end was lost and filled up."""
    for ends, data in (("offsets", "bytes"), ("indptr", "indices")):
        for name in tensors:
            stem, _, last = name.rpartition(".")
            if last == ends and int(tensors[name][-1]) != len(tensors[f"{stem}.{data}"]):
                raise ValueError(f"{name} and {stem}.{data} do not belong together")
