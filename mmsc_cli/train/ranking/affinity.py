"""How much the categories of a pair count beside the ranker.

Shoppers relate two categories far more often than any two items of them, so that categories are the surer evidence
where pairs are few or noisy. The ranker reads them among much else, and learns to predict noise as well. This adds
them again, with a weight that is chosen on validation pairs.

This is for complements alone. Substitutes share a category, which the ranker knows; to follow the student gains as much
there and costs less (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.ranking.ranker import Ranker
from mmsc_cli.train.validation import Validation, Validations

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0)
# What is best for fewer queries may be so by chance.
FEWEST_QUERIES = 30
WEIGHED: Relation = "complement"


def choose_affinity_weights(
    evidence: Evidence, rankers: Mapping[Relation, Ranker], asked: Validations, count: int
) -> dict[Relation, float]:
    """The weight of category affinity in each relation; 0 without a ranker.

    That of complements is the one with the best NDCG.

    Args:
        evidence: from the training pairs.
        rankers: one per relation.
        asked: validation pairs that neither evidence nor rankers saw.
        count: candidates of a query.
    """
    question = asked[WEIGHED, "warm"]
    if WEIGHED not in rankers or len(question.queries) < FEWEST_QUERIES:
        return dict.fromkeys(RELATIONS, 0.0)
    return fixed_affinity_weights(_choose(evidence, rankers[WEIGHED], question, count))


def fixed_affinity_weights(weight: float) -> dict[Relation, float]:
    """The weight of category affinity in each relation, where that of complements is given."""
    return {**dict.fromkeys(RELATIONS, 0.0), WEIGHED: weight}


def _choose(evidence: Evidence, ranker: Ranker, question: Validation, count: int) -> float:
    """The weight for one relation."""
    known, relation = evidence.known, question.relation
    figures = []
    for start in range(0, len(question.queries), evidence.chunk):
        rows = question.queries[start : start + evidence.chunk]
        candidates = known.candidates(rows, count)
        scores = ranker.scores(evidence.of(rows, candidates))[:, :, 0]
        affinity = evidence.affinity[relation].log_ratio(rows[:, None], np.maximum(candidates, 0))
        query, position = np.nonzero(candidates >= 0)
        at = query, candidates[query, position]
        of_weights = []
        for weight in WEIGHTS:
            whole = np.full((len(rows), len(known.catalogue)), np.finfo(np.float32).min)
            whole[at] = (scores + np.float32(weight) * affinity)[query, position]
            of_weights.append(question.figures(rows, whole))
        figures.append(np.stack(of_weights))
    ndcg = np.concatenate(figures, axis=1)
    return WEIGHTS[int(ndcg.mean(axis=1).argmax())]
