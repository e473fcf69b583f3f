"""The index: everything that answering needs, in two files that numpy alone can read.

`index.safetensors` holds, per relation, `query` and `key` (n_items, dim) float32 and the linear branch as sparse rows
(`linear.indptr`, `linear.indices`, `linear.values`; `linear.by_distinct`: how much each value changes as `distinct` of
`index.json` goes from 0 to 1; `linear.truth`: the student's probability that the relation is true; `linear.behaviour`:
the score without the student); the known training pairs (`known.indptr`, `known.indices`); item ids in sorted order and
titles, as UTF-8 bytes with offsets. It is memory-mapped: only what is used is read. `index.json` holds its size, the
model it belongs to, and the coefficients that turn scores into probabilities. Where it says `ranked`, each row has its
candidates best first.

Tensors for filters and explanations are optional (`Index.optional`): `price` (n_items,) float32, NaN unknown;
`category` (n_items,) int32, a number in the sorted list `categories` of whole paths, -1 unknown;
`group` (n_items,) int32, equal for variants of one product, -1 without variants; aligned with
`known.indices`, `known.strength.RELATION` and `known.reliability.RELATION` float32, `known.together.RELATION` int32
(in how many sessions, or orders where `index.json` says so under `orders`; 0 unknown); labels as sparse rows
(`labels.indptr`, `labels.indices`, `labels.probabilities` (n_labels, 3), `labels.model` numbers in `label_models` of
`index.json`); `gate` (n_items, relations x sides, channels) float16.

score(i, j) = query[i] . key[j] + linear[i, j]"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index.following import followed_scores
from mmsc_cli.index.soundness import check_columns, check_description, check_scores, check_tensors
from mmsc_cli.index.storage import DAMAGE, LabelRows, SparseRows, Strings, Vectors, map_tensors
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.os_errors import writing
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.workspace.regular_file import read_regular

if TYPE_CHECKING:
    from scipy import sparse

FORMAT_VERSION = 1
# Keys that are looked at together: few, so that they stay in the cache.
_KEYS_AT_A_TIME = 1_024


@dataclass(frozen=True)
class _Reach:
    """How far keys reach: columns (dim,) in which all are equal, as values and 0 elsewhere, and the rest's length."""

    fixed: NDArray[np.float32]
    varies: NDArray[np.bool_]
    longest: float

    @classmethod
    def of(cls, key: NDArray[np.float32]) -> _Reach:
        """Of keys (n_items, dim)."""
        starts = range(0, len(key), _KEYS_AT_A_TIME)
        varies = np.zeros(key.shape[1], np.bool_)
        for start in starts:
            varies |= (key[start : start + _KEYS_AT_A_TIME] != key[0]).any(axis=0)
        parts = (key[start : start + _KEYS_AT_A_TIME, varies] for start in starts)
        longest = max((float(np.linalg.norm(part, axis=1).max()) for part in parts), default=0.0)
        return cls(np.where(varies, 0, key[0]) if len(key) else np.zeros(len(varies), np.float32), varies, longest)


class Index:
    """An opened index."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], about: dict[str, Any]) -> None:
        self.about = about
        self.ids = Strings(tensors["ids.bytes"], tensors["ids.offsets"])
        self.titles = Strings(tensors["titles.bytes"], tensors["titles.offsets"])
        self.known = SparseRows(tensors["known.indptr"], tensors["known.indices"])
        self.tensors = tensors
        self._reach: dict[Relation, _Reach] = {}
        self._vectors: dict[Relation, Vectors] = {
            relation: Vectors(
                tensors[f"{relation}.query"],
                tensors[f"{relation}.key"],
                SparseRows(
                    tensors[f"{relation}.linear.indptr"],
                    tensors[f"{relation}.linear.indices"],
                    tensors[f"{relation}.linear.values"],
                ),
            )
            for relation in RELATIONS
        }

    @classmethod
    def open(cls, folder: Path) -> Index:
        """Map an index.

        Raises:
            WorkspaceError: there is none, it is damaged, or of a newer format version.
        """
        hint = "run `mmsc train`"
        try:
            about = json.loads(read_regular(folder / "index.json"))
            if about["format_version"] > FORMAT_VERSION:
                raise WorkspaceError(f"{folder}: made by a newer mmsc", hint="upgrade with pip, or " + hint)
            tensors, stated = map_tensors(folder / "index.safetensors", about["bytes"])
            if stated.get("model") != about.get("model"):
                raise WorkspaceError(f"{folder}: index.safetensors and index.json are of two models", hint=hint)
            check_tensors(tensors)
            check_description(about)
            return cls(tensors, about)
        except FileNotFoundError as error:
            raise WorkspaceError(f"there is no index at {folder}", hint=hint) from error
        except DAMAGE as error:
            raise WorkspaceError(f"{folder} is damaged: {error}", hint=hint + " again") from error

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, item_id: str) -> int:
        """Row of an item id, by binary search.

        Raises:
            UnknownItemError: it is not in the catalogue; the hint names the nearest ids.
        """
        return self.ids.find(item_id)

    def title(self, item_id: str) -> str:
        """Title of an item.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        return str(self.titles[self.row(item_id)])

    def optional(self, name: str) -> NDArray[Any] | None:
        """A tensor that an index may lack, by its name in the file."""
        return self.tensors.get(name)

    @property
    def relations(self) -> list[Relation]:
        """The relations that the model was trained on."""
        return [relation for relation in RELATIONS if self.about.get("pairs", {}).get(relation, 1)]

    @cached_property
    def categories(self) -> Strings:
        """Whole category paths, sorted, joined by PATH_SEPARATOR; empty if the index has none."""
        data, offsets = self.optional("categories.bytes"), self.optional("categories.offsets")
        return Strings.of([]) if data is None or offsets is None else Strings(data, offsets)

    @cached_property
    def labels(self) -> LabelRows | None:
        """Labels of pairs; None if the model was trained without."""
        tensors = [self.optional(f"labels.{name}") for name in ("indptr", "indices", "probabilities", "model")]
        indptr, indices, probabilities, model = tensors
        if indptr is None or indices is None or probabilities is None or model is None:
            return None
        return LabelRows(SparseRows(indptr, indices), probabilities, model)

    def known_pairs(self, relation: Relation) -> sparse.csr_array[Any]:
        """Strengths of the pairs that the index was trained on, a symmetric (n_items, n_items) matrix."""
        from scipy import sparse  # noqa: PLC0415  slow to import, and only new items need it

        strengths = self.tensors[f"known.strength.{relation}"]
        self.known.row_sums(strengths)  # refuses what scipy would not
        check_columns(self.known.indices, len(self))
        mapped = (strengths, self.known.indices, self.known.indptr)
        pairs = sparse.csr_array(tuple(map(np.array, mapped)), shape=(len(self), len(self)))
        pairs.eliminate_zeros()
        return pairs

    def vectors(self, relation: Relation) -> Vectors:
        """Query and key vectors and the linear branch of a relation."""
        return self._vectors[relation]

    def with_distinct(self, share: float) -> Index:
        """This index with another share, 0 to 1, of the ranking by pairs of one relation alone; see docs/model.md.

        Raises:
            WorkspaceError: the index was made by an older mmsc, which had no such ranking.
        """
        changed = copy(self)
        changed.about = {**self.about, "distinct": share, "ranked": False}
        try:
            changed._vectors = {  # noqa: SLF001  its own
                relation: replace(
                    vectors,
                    linear=replace(
                        vectors.linear,
                        change=self.tensors[f"{relation}.linear.by_distinct"],
                        share=vectors.linear.share + share - self.about.get("distinct", 0),
                    ),
                )
                for relation, vectors in self._vectors.items()
            }
        except KeyError as error:
            raise WorkspaceError("the index has no ranking by distinct pairs", hint="run `mmsc train` again") from error
        return changed

    def with_follow_labels(self, weights: Mapping[Relation, float]) -> Index:
        """This index with other weights, 0 to 1, of the student of labels; see docs/model.md.

        Raises:
            WorkspaceError: the index has no student.
        """
        changed, followed = copy(self), self.about.get("follow_labels", {})
        changed.about = {**self.about, "follow_labels": {**followed, **weights}, "ranked": False}
        changed._vectors = dict(self._vectors)  # noqa: SLF001  its own
        for relation, weight in weights.items():
            vectors = self._vectors[relation]
            assert vectors.linear.values is not None
            given = self.behaviour(relation), self.truth(relation), vectors.linear.indptr
            then, now = followed.get(relation, 0.0), weight
            values = vectors.linear.values + followed_scores(*given, now) - followed_scores(*given, then)
            changed._vectors[relation] = replace(vectors, linear=replace(vectors.linear, values=values))  # noqa: SLF001
        return changed

    def truth(self, relation: Relation) -> NDArray[np.float32]:
        """How probable the student thinks each entry of a relation's linear rows, (n_linear,).

        Raises:
            WorkspaceError: the index has no student.
        """
        return self._of_student(relation, "truth")

    def behaviour(self, relation: Relation) -> NDArray[np.float32]:
        """The score of each entry of a relation's linear rows without the student, (n_linear,).

        Raises:
            WorkspaceError: the index has no student.
        """
        return self._of_student(relation, "behaviour")

    def _of_student(self, relation: Relation, name: str) -> NDArray[np.float32]:
        tensor = self.optional(f"{relation}.linear.{name}")
        if tensor is None:
            raise WorkspaceError(
                "the index has no student of labels",
                hint="run `mmsc train` again; a catalogue without pairs of one relation alone can teach none",
            )
        return tensor

    def most_without_addition(self, relation: Relation, vector: NDArray[np.float32]) -> float:
        """An upper bound of the dot products of a query vector (dim,) with all keys (Cauchy-Schwarz)."""
        reach = self._reach.get(relation)
        if reach is None:
            reach = self._reach[relation] = _Reach.of(self._vectors[relation].key)
        fixed, rest = float(vector @ reach.fixed), vector[reach.varies]
        varying = math.sqrt(rest @ rest) * reach.longest
        # With a tolerance, as both sides of a comparison are rounded.
        return fixed + varying + 1e-5 * (abs(fixed) + varying)

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of the whole catalogue, (n_queries, n_items)."""
        vectors = self._vectors[relation]
        scores: NDArray[np.float32] = vectors.query[queries] @ vectors.key.T
        for row, query in enumerate(queries):
            columns, values = vectors.linear.entries(int(query))
            scores[row, columns] += values
        return scores

    def pair_scores(self, relation: Relation, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of pairs, (n_pairs,): the mean of both directions."""
        vectors = self._vectors[relation]
        scores = np.zeros(len(a), np.float32)
        for query, key in ((a, b), (b, a)):
            scores += np.einsum("ij,ij->i", vectors.query[query], vectors.key[key]) / 2
            scores += vectors.linear.values_at(query, key) / 2
        check_scores(scores)
        return scores


def write_index(folder: Path, tensors: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write an index.

    Args:
        folder: where to write it.
        tensors: the content of `index.safetensors`.
        about: the content of `index.json`, to which the format version and the size are added; its `model` is also
            written into `index.safetensors`. The number of training pairs per relation is added, if known.
    """
    from safetensors.numpy import save_file  # noqa: PLC0415  answering does without it

    path = folder / "index.safetensors"
    strengths = {relation: tensors.get(f"known.strength.{relation}") for relation in RELATIONS}
    pairs = {relation: int(np.count_nonzero(known)) // 2 for relation, known in strengths.items() if known is not None}
    identity = {"model": about["model"]} if about.get("model") else None
    with writing(path):
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path, identity)
    write_json(
        folder / "index.json", {**about, "pairs": pairs, "format_version": FORMAT_VERSION, "bytes": path.stat().st_size}
    )
