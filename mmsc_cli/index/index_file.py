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

score(i, j) = query[i] . key[j] + linear[i, j]"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import UnknownItemError, WorkspaceError
from mmsc_cli.index.storage import LabelRows, SparseRows, Strings, Vectors, _check_ends, _map
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.os_errors import writing
from mmsc_cli.tables.relations import RELATIONS, Relation

FORMAT_VERSION = 1
# An id that is not in the catalogue may be anything; a message shows, and looks up, so many characters of it.
LONGEST_SHOWN = 100


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
