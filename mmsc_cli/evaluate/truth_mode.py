"""Truth mode, for generated catalogues: judging against the true relations instead of the observed behaviour.

Noisy test pairs punish a model for being right where shoppers were not. Where the true relations are
known, every query is also ranked against its true partners, and the learned reliabilities of the training pairs are
judged by how well they tell true pairs from planted noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.evaluate.protocol import Judgement, JudgementName, RelationProtocol, Slice, TrueSliceName
from mmsc_cli.tables.edges import Edges
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.tables.truth import Truth

TRUE_SLICES: tuple[TrueSliceName, ...] = get_args(TrueSliceName)
TRUE_SLICE_MEANINGS: dict[TrueSliceName, str] = {
    "true_warm": "warm items as queries, their true partners as positives, less training and validation pairs",
    "true_cold": "cold_test items as queries, their true partners as positives",
    "true_warm_unasked": "as true_warm, with every pair masked that the annotator was asked about",
    "true_cold_unasked": "as true_cold, with every pair masked that the annotator was asked about",
}
NO_RELIABILITIES = "the model keeps no reliabilities: it was trained without denoise, or by an earlier version"


@dataclass(frozen=True)
class KnownTruth:
    """The true relations, and two things to judge by them.

    Attributes:
        truth: the true relations.
        edges: reliabilities of the training pairs, None where the model has none.
        labels: the labels that the model was trained with, None where there were none.
    """

    truth: Truth
    edges: Edges | None = None
    labels: Labels | None = None


def with_truth(protocol: RelationProtocol, known: KnownTruth, item_split: NDArray[np.str_]) -> RelationProtocol:
    """Add the slices of truth mode to a relation's protocol.

    All true partners of the whole catalogue are right except those that the protocol masks: the query's training and
    validation pairs. A test pair that is not true is as wrong as any other. With labels, further slices mask the pairs
    that the annotator labelled, so that an answer it gave away does not count.
    """
    n_items = len(item_split)
    true = known.truth.holds(protocol.relation)
    partners = symmetric_matrix(known.truth.a[true], known.truth.b[true], None, n_items)
    seen = protocol.judgements["plain"].masked
    masks: dict[JudgementName, sparse.csr_array[Any]] = {"true": seen}
    if known.labels is not None:
        asked = symmetric_matrix(known.labels.a, known.labels.b, None, n_items)
        masks["true_unasked"] = sparse.csr_array(seen + asked)
    judgements = dict(protocol.judgements)
    slices = dict(protocol.slices)
    everything = np.arange(n_items, dtype=np.int64)
    for name, mask in masks.items():
        judgement = Judgement(_without(partners, mask), mask)
        judgements[name] = judgement
        findable = judgement.has_positives(everything)
        warm: TrueSliceName = "true_warm" if name == "true" else "true_warm_unasked"
        cold: TrueSliceName = "true_cold" if name == "true" else "true_cold_unasked"
        slices[warm] = Slice(name, np.flatnonzero(findable & (item_split == "warm")))
        slices[cold] = Slice(name, np.flatnonzero(findable & (item_split == "cold_test")))
    return replace(protocol, judgements=judgements, slices=slices)


def describe_truth(known: KnownTruth, n_items: int, models: Mapping[str, Any]) -> dict[str, Any]:
    """The block `truth` of a result, from the figures of each model."""
    asked = known.labels is not None
    block: dict[str, Any] = {
        "slices": {name: TRUE_SLICE_MEANINGS[name] for name in TRUE_SLICES if asked or not name.endswith("_unasked")},
        "pairs": {relation: int(known.truth.holds(relation).sum()) for relation in RELATIONS},
        "reliability": None,
        "models": dict(models),
    }
    if known.edges is None:
        block["reliability_missing"] = NO_RELIABILITIES
    else:
        block["reliability"] = {
            relation: judge_reliability(known.edges, known.truth, relation, n_items) for relation in RELATIONS
        }
    return block


def judge_reliability(edges: Edges, truth: Truth, relation: Relation, n_items: int) -> dict[str, Any]:
    """How well reliabilities separate the training pairs of a relation by what is true of them.

    Returns:
        `auroc`: the chance that a true pair has a higher reliability than a pair of planted noise (true in neither
        relation); `auroc_strength`: the same by the observed strength, which reliabilities must beat;
        `auroc_rest`: true pairs against all others, those of the other relation too. None where there is only one kind
        of pair. `pairs` and `mean_reliability` by kind: `true`, `other_relation`, `noise`.
    """
    seen = edges.strength[relation] > 0
    a, b = edges.a[seen], edges.b[seen]
    reliability, strength = edges.reliability[relation][seen], edges.strength[relation][seen]
    true = truth.of_pairs(relation, a, b, n_items)
    noise = truth.find(a, b, n_items) < 0
    kinds = {"true": true, "other_relation": ~true & ~noise, "noise": noise}
    contrast = true | noise
    return {
        "auroc": _auroc(true[contrast], reliability[contrast]),
        "auroc_strength": _auroc(true[contrast], strength[contrast]),
        "auroc_rest": _auroc(true, reliability),
        "pairs": {kind: int(of_kind.sum()) for kind, of_kind in kinds.items()},
        "mean_reliability": {
            kind: float(reliability[of_kind].mean(dtype=np.float64)) if of_kind.any() else None
            for kind, of_kind in kinds.items()
        },
    }


def _auroc(positive: NDArray[np.bool_], score: NDArray[np.float32]) -> float | None:
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415  sklearn is slow to import

    return float(roc_auc_score(positive, score)) if 0 < positive.sum() < len(positive) else None


def _without(matrix: sparse.csr_array[Any], mask: sparse.csr_array[Any]) -> sparse.csr_array[Any]:
    """The entries of a boolean matrix that are not in the mask, each row's columns ascending."""
    left = sparse.csr_array(matrix > matrix.multiply(mask))
    left.eliminate_zeros()
    left.sort_indices()
    return left
