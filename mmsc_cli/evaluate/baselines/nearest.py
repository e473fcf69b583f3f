"""Baselines that know the embeddings: nearest neighbours, and what the nearest neighbours go with."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.baselines.scorer import FitRelation, ScoreRows
from mmsc_cli.evaluate.context import FittingContext, Modality
from mmsc_cli.linear.transfer import transfer_rows
from mmsc_cli.relations import Relation

ModalityName = Literal["text", "image"]
NEAREST = 50
BELOW_ANY_COSINE = np.float32(-2)


def fit_knn(modality: ModalityName) -> FitRelation:
    """Score by cosine in one modality; an item without it scores below all others."""

    def fit(context: FittingContext, relation: Relation) -> ScoreRows:
        return _Cosine(_modality(context, modality)).rows

    return fit


def fit_knn_transfer(context: FittingContext, relation: Relation) -> ScoreRows:
    """Score by the training neighbours of the NEAREST warm items by text (`mmsc_cli.linear.transfer`).

    The query itself is not among them, so that a warm query is answered as if it were cold.
    """
    cosine = _Cosine(_modality(context, "text"))
    adjacency = context.pairs.adjacency(relation, context.items)
    not_warm = context.item_split != "warm"
    count = min(NEAREST, context.items)

    def rows(queries: NDArray[np.int64]) -> NDArray[np.float32]:
        similarity = cosine.rows(queries)
        similarity[:, not_warm] = BELOW_ANY_COSINE
        similarity[np.arange(len(queries)), queries] = BELOW_ANY_COSINE
        nearest = np.argpartition(similarity, context.items - count, axis=1)[:, -count:]
        weights = np.maximum(np.take_along_axis(similarity, nearest, axis=1), 0)
        total = weights.sum(axis=1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        pointers = np.arange(0, nearest.size + 1, count)
        shape = (len(queries), context.items)
        similar = sparse.csr_array((weights.ravel(), nearest.ravel(), pointers), shape=shape)
        return transfer_rows(similar, adjacency).toarray().astype(np.float32, copy=False)

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
