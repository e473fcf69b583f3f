"""Baselines that know the embeddings: the nearest items, and the partners of the nearest items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.rows import divide, reciprocal, unit_rows
from mmsc_cli.arrays.top import top_columns
from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows
from mmsc_cli.evaluate.context import FittingContext, Modality

ModalityName = Literal["text", "image", "joint"]
# Beauty prefers 800 (1,600 are no better) of sharpness 2 for substitutes and 1 for complements, the demo 800 or more of
# 1 and of 0.5; small shops prefer few and sharp ones. Each choice has points beyond it.
KNN_TRANSFER_GRID = tuple(
    {"nearest": nearest, "self_weight": self_weight, "sharpness": sharpness}
    for nearest, self_weight, sharpness in (
        *((800, 0.5, 2), (800, 0.5, 1), (800, 0.5, 0.5), (800, 0.5, 0.25), (800, 0.25, 2), (800, 0.25, 1)),
        *((800, 1.0, 1), (800, 1.0, 0.5), (800, 2.0, 1), (1_600, 0.5, 1), (1_600, 0.5, 0.5), (3_200, 0.5, 1)),
        *((200, 0.5, 2), (50, 0.5, 4)),
    )
)
MOST_NEAREST = max(int(setting["nearest"]) for setting in KNN_TRANSFER_GRID)
BELOW_ANY_COSINE = np.float32(-2)


def fit_knn(modality: ModalityName) -> Callable[[FittingTask], ScoreRows]:
    """Score by cosine in one modality; an item without it scores below all others."""
    return lambda task: _cosines(find_modality(task.context, modality))


def fit_knn_transfer(task: FittingTask, *, nearest: int, self_weight: float, sharpness: float) -> ScoreRows:
    """Score by the neighbours of the nearest warm items (`mmsc_cli.linear.transfer`).

    Nearest by text, plus the cosine of the lists of partners outside the catalogue where there are any. The query
    itself is not among the nearest, and its own pairs are not used.

    Args:
        task: what to fit on.
        nearest: number of nearest items.
        self_weight: how much the nearest items themselves count.
        sharpness: power of the cosine that weighs them.
    """
    closeness = task.once("closeness", lambda: _Closeness(task))
    adjacency = task.adjacency(strengths=True)
    degree = np.asarray(adjacency.sum(axis=0)).ravel()
    partners = sparse.csr_array(sparse.diags_array(reciprocal(np.sqrt(degree))) @ adjacency)

    def rows(queries: NDArray[np.int64]) -> NDArray[np.float32]:
        # columns, weights: shape (queries, nearest); weights of a row sum to one.
        columns, similarity = closeness.nearest(queries, nearest)
        weights = np.maximum(similarity, 0) ** sharpness
        weights = divide(weights, weights.sum(axis=1, keepdims=True))
        # `transfer_rows` for many nearest items. They and their partners are most of the catalogue, so the columns are
        # dense, (items, queries), which scipy multiplies quickest.
        similar = np.zeros((task.context.n_items, len(queries)), np.float32)
        similar[columns, np.arange(len(queries))[:, None]] = weights
        scores: NDArray[np.float32] = partners @ similar
        scores += np.float32(self_weight) * similar
        return np.ascontiguousarray(scores.T)

    return rows


class _Closeness:
    """How near the warm items are to a query: by text, and by partners outside the catalogue where there are any."""

    def __init__(self, task: FittingTask) -> None:
        context, outside = task.context, task.outside()
        self._cosines = _cosines(find_modality(context, "text"))
        self._not_warm = context.item_split != "warm"
        self._shared = sparse.csr_array(sparse.diags_array(reciprocal(sparse.linalg.norm(outside, axis=1))) @ outside)
        # While settings are tried, all of them ask for the same queries.
        self._found: dict[bytes, tuple[NDArray[np.int64], NDArray[np.float32]]] | None = {} if task.validate else None

    def nearest(self, queries: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Columns and similarities of the nearest items, (queries, count) or fewer, in no order."""
        if self._found is None:
            return self._search(queries, count)
        key = queries.tobytes()
        if key not in self._found:
            columns, similarity = self._search(queries, MOST_NEAREST)
            order = np.argsort(-similarity, axis=1, kind="stable")
            self._found[key] = np.take_along_axis(columns, order, axis=1), np.take_along_axis(similarity, order, axis=1)
        columns, similarity = self._found[key]
        return columns[:, :count], similarity[:, :count]

    def _search(self, queries: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        similarity = self._cosines(queries)
        if self._shared.nnz:
            similarity += (self._shared[queries] @ self._shared.T).toarray()
        similarity[:, self._not_warm] = BELOW_ANY_COSINE
        similarity[np.arange(len(queries)), queries] = BELOW_ANY_COSINE
        columns = top_columns(similarity, count)
        return columns, np.take_along_axis(similarity, columns, axis=1)


def find_modality(context: FittingContext, name: ModalityName) -> Modality:
    """The embeddings of a modality.

    Raises:
        InputError: there are none.
    """
    modality: Modality | None = getattr(context, name)
    if modality is None or not modality.present.any():
        raise InputError(f"there are no {name} embeddings", hint="run `mmsc encode`, or name other --baselines")
    return modality


def _cosines(modality: Modality) -> ScoreRows:
    """Cosines of shape (queries, items); BELOW_ANY_COSINE wherever one of the two has no vector."""
    unit, absent = unit_rows(modality.vectors), ~modality.present

    def rows(queries: NDArray[np.int64]) -> NDArray[np.float32]:
        cosines: NDArray[np.float32] = unit[queries] @ unit.T
        cosines[:, absent] = BELOW_ANY_COSINE
        cosines[absent[queries]] = BELOW_ANY_COSINE
        return cosines

    return rows
