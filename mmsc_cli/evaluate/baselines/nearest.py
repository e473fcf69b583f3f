"""Baselines that know the embeddings: nearest neighbours, and what the nearest neighbours go with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows, every
from mmsc_cli.evaluate.context import FittingContext, Modality
from mmsc_cli.linear.transfer import transfer_rows

ModalityName = Literal["text", "image"]
KNN_TRANSFER_GRID = every(nearest=(100, 50), self_weight=(0.5, 0.25, 0.0), sharpness=(4, 2))
BELOW_ANY_COSINE = np.float32(-2)


def fit_knn(modality: ModalityName) -> Callable[[FittingTask], ScoreRows]:
    """Score by cosine in one modality; an item without it scores below all others."""

    def fit(task: FittingTask) -> ScoreRows:
        return _Cosine(_modality(task.context, modality)).rows

    return fit


def fit_knn_transfer(task: FittingTask, *, nearest: int, self_weight: float, sharpness: int) -> ScoreRows:
    """Score by the training neighbours of the nearest warm items by text (`mmsc_cli.linear.transfer`).

    The query itself is not among them, so that a warm query is answered as if it were cold.

    Args:
        task: on what.
        nearest: from so many items.
        self_weight: how much the nearest items themselves count.
        sharpness: power of the cosine by which they are weighted.
    """
    context = task.context
    cosine = _Cosine(_modality(context, "text"))
    adjacency = task.adjacency(strengths=True)
    not_warm = context.item_split != "warm"
    count = min(nearest, context.items)

    def rows(queries: NDArray[np.int64]) -> NDArray[np.float32]:
        similarity = cosine.rows(queries)
        similarity[:, not_warm] = BELOW_ANY_COSINE
        similarity[np.arange(len(queries)), queries] = BELOW_ANY_COSINE
        found = np.argpartition(similarity, context.items - count, axis=1)[:, -count:]
        weights = np.maximum(np.take_along_axis(similarity, found, axis=1), 0) ** sharpness
        total = weights.sum(axis=1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        pointers = np.arange(0, found.size + 1, count)
        similar = sparse.csr_array((weights.ravel(), found.ravel(), pointers), shape=similarity.shape)
        return transfer_rows(similar, adjacency, self_weight).toarray().astype(np.float32, copy=False)

    return rows


def check_modality(context: FittingContext, modality: ModalityName) -> None:
    """Check that there are embeddings of a modality.

    Raises:
        InputError: there are none.
    """
    _modality(context, modality)


class _Cosine:
    def __init__(self, modality: Modality) -> None:
        vectors = np.asarray(modality.vectors, dtype=np.float32)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
        self._absent = ~modality.present

    def rows(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosines of shape (queries, items); BELOW_ANY_COSINE wherever one of the two has no vector."""
        cosines: NDArray[np.float32] = self._unit[queries] @ self._unit.T
        cosines[:, self._absent] = BELOW_ANY_COSINE
        cosines[self._absent[queries]] = BELOW_ANY_COSINE
        return cosines


def _modality(context: FittingContext, name: ModalityName) -> Modality:
    found = context.text if name == "text" else context.image
    if found is None or not found.present.any():
        raise InputError(f"there are no {name} embeddings", hint="run `mmsc encode`, or name other --baselines")
    return found
