"""The index: all that answering needs, in two files that numpy alone can read.

`index.safetensors` holds, per relation, `query` and `key` (items, dim) float32 and the linear branch as sparse rows
(`linear.indptr`, `linear.indices`, `linear.values`); the known training pairs (`known.indptr`, `known.indices`); item
ids in sorted order and titles, as UTF-8 bytes with offsets. It is memory-mapped: nothing is loaded that is not
touched. `index.json` says how large it must be, what made it, and how scores become probabilities.

score(i, j) = query[i] . key[j] + linear[i, j]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.atomic import write_json
from mmsc_cli.errors import UnknownItemError, WorkspaceError
from mmsc_cli.relations import RELATIONS, Relation

FORMAT_VERSION = 1
CLASSES = (*RELATIONS, "neither")
DTYPES = {"F32": np.float32, "I64": np.int64, "I32": np.int32, "U8": np.uint8}


@dataclass(frozen=True)
class SparseRows:
    """Rows of a sparse (items, items) matrix; `values` is None where only the pattern matters."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32] | None = None

    def row(self, number: int) -> slice:
        """Where the entries of a row lie in `indices` and `values`."""
        return slice(int(self.indptr[number]), int(self.indptr[number + 1]))


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
            return cls(_map(folder / "index.safetensors", about["bytes"]), about)
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
        place = self._place(item_id)
        if place < len(self.ids) and self.ids[place] == item_id:
            return place
        raise UnknownItemError(f"unknown item {item_id!r}", hint=f"nearest ids: {', '.join(self._nearest(item_id))}")

    def title(self, item_id: str) -> str:
        """Title of an item.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        return str(self.titles[self.row(item_id)])

    def vectors(self, relation: Relation) -> Vectors:
        """Query and key vectors and the linear branch of a relation."""
        return self._vectors[relation]

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of the whole catalogue, (queries, items)."""
        vectors = self._vectors[relation]
        scores: NDArray[np.float32] = vectors.query[queries] @ vectors.key.T
        for place, query in enumerate(queries):
            entries = vectors.linear.row(int(query))
            assert vectors.linear.values is not None
            scores[place, vectors.linear.indices[entries]] += vectors.linear.values[entries]
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
        entries = linear.row(int(query))
        found = np.flatnonzero(linear.indices[entries] == key)
        assert linear.values is not None
        return float(linear.values[entries][found[0]]) if len(found) else 0.0

    def _place(self, item_id: str) -> int:
        low, high = 0, len(self.ids)
        while low < high:
            middle = (low + high) // 2
            if self.ids[middle] < item_id:
                low = middle + 1
            else:
                high = middle
        return low

    def _nearest(self, item_id: str, count: int = 3) -> list[str]:
        """Ids that look like a mistyped one, among its neighbours in sorted order."""
        from difflib import get_close_matches

        place = self._place(item_id)
        around = [self.ids[row] for row in range(max(0, place - 500), min(len(self.ids), place + 500))]
        return get_close_matches(item_id, around, n=count, cutoff=0) or around[:count]


def write_index(folder: Path, tensors: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write an index; `about` gets the format version and the file's size."""
    from safetensors.numpy import save_file

    path = folder / "index.safetensors"
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)
    write_json(folder / "index.json", {**about, "format_version": FORMAT_VERSION, "bytes": path.stat().st_size})


def _map(path: Path, expected_bytes: int) -> dict[str, NDArray[Any]]:
    """Map the tensors of a safetensors file (its format: 8 bytes of header length, a JSON header, the data)."""
    size = path.stat().st_size
    if size != expected_bytes:
        raise ValueError(f"{path.name} has {size} bytes, {expected_bytes} were written")
    with path.open("rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        if header_size > size - 8:
            raise ValueError(f"{path.name} has no valid header")
        header = json.loads(file.read(header_size))
    data = np.memmap(path, dtype=np.uint8, mode="r")
    start = 8 + header_size
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        tensors[name] = data[start + begin : start + end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors
