"""Judging one system after another by the same queries, and the model against the best of the baselines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.evaluate.baselines.tuning import BaselineScorer
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import (
    MODEL,
    SLICES,
    RelationProtocol,
    SliceName,
    TrueSliceName,
    relation_protocol,
    training_degree,
)
from mmsc_cli.evaluate.rank import by_degree, mean_figures, rank_catalogue, summarise_slice
from mmsc_cli.evaluate.sampled import SampledPairs, draw_sampled_pairs
from mmsc_cli.evaluate.truth_mode import TRUE_SLICES, KnownTruth, with_truth
from mmsc_cli.metrics.bootstrap import paired_gain
from mmsc_cli.metrics.retrieval import NDCG
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import RELATIONS, Relation


@dataclass(frozen=True)
class RelationQueries:
    """All that is asked in one relation.

    Attributes:
        protocol: queries, right answers and masked items of each slice, those of the truth too where it is known.
        sampled: the pairs of the sampled protocol.
        degree: number of training pairs of each item, shape (items,).
    """

    protocol: RelationProtocol
    sampled: SampledPairs
    degree: NDArray[np.int64]


def draw_queries(
    context: EvaluationContext, negatives: int, truth: KnownTruth | None = None
) -> dict[Relation, RelationQueries]:
    """Apply the protocol to both relations; `negatives` are drawn for each pair of the sampled protocol."""
    queries = {}
    for relation in RELATIONS:
        protocol = relation_protocol(relation, context.pairs, context.item_split)
        sampled = draw_sampled_pairs(protocol, context.pairs, context.seed, negatives)
        if truth is not None:
            protocol = with_truth(protocol, truth, context.item_split)
        degree = training_degree(relation, context.pairs, context.n_items)
        queries[relation] = RelationQueries(protocol, sampled, degree)
    return queries


class Scoreboard:
    """Ranks the catalogue once per system and relation, and reads every figure off that ranking.

    Attributes:
        models: the block `models` of the result, by system.
        by_degree: by system and relation, figures by training pairs of the query.
        sampled: by system and relation, figures of the sampled protocol.
        true: by system and relation, figures against the true relations; no slices where they are not known.
    """

    def __init__(
        self,
        queries: Mapping[Relation, RelationQueries],
        seed: int,
        resamples: int,
        progress: Progress = SILENT,
    ) -> None:
        self._queries = queries
        self._seed = seed
        self._resamples = resamples
        self._progress = progress
        # NDCG@10 of each query, (queries,), by system, relation and slice.
        self._ndcg: dict[str, dict[tuple[Relation, SliceName | TrueSliceName], NDArray[np.float64]]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.by_degree: dict[str, dict[Relation, list[dict[str, Any]]]] = {}
        self.sampled: dict[str, dict[Relation, dict[str, Any]]] = {}
        self.true: dict[str, dict[Relation, dict[str, Any]]] = {}

    def add(self, name: str, scorer: Scorer, fit_seconds: float | None = None) -> None:
        """Rank the catalogue by a system. A baseline is fitted first, and knows itself how long that took."""
        models: dict[str, Any] = {}
        self.models[name], self.by_degree[name], self.sampled[name], self.true[name] = models, {}, {}, {}
        self._ndcg[name] = {}
        score_seconds = 0.0
        for relation, asked in self._queries.items():
            if isinstance(scorer, BaselineScorer):
                # Before it is asked for scores, so that neither time nor progress of the two is mixed up.
                scorer.fit(relation)
            started = time.perf_counter()
            ranking = rank_catalogue(scorer, asked.protocol, name=name, sampled=asked.sampled, progress=self._progress)
            score_seconds += time.perf_counter() - started
            figures = {
                part: summarise_slice(ranking, part, self._seed, self._resamples) for part in asked.protocol.slices
            }
            models[relation] = {part: figures[part] for part in SLICES}
            self.true[name][relation] = {part: figures[part] for part in TRUE_SLICES if part in figures}
            self.by_degree[name][relation] = by_degree(ranking, asked.degree, self._seed, self._resamples)
            self.sampled[name][relation] = {
                **mean_figures(ranking.sampled),
                "pairs": len(asked.sampled.query),
                "pairs_available": asked.sampled.available,
            }
            self._ndcg[name] |= {(relation, part): ranking.of_slice(part)[:, NDCG] for part in figures}
        if isinstance(scorer, BaselineScorer):
            fit_seconds = round(scorer.fit_seconds, 3)
            models["tuning"] = scorer.tuning
        models["seconds"] = {"fit": fit_seconds, "score": round(score_seconds, 3)}

    def gains(self) -> dict[Relation, dict[str, Any]]:
        """How far the model is ahead of the best baseline of each slice, in NDCG@10.

        Returns:
            By relation and slice `baseline`, its `ndcg@10`, and what `paired_gain` returns, query by query; None where
            a slice has no query. Empty without baselines.
        """
        rivals = [name for name in self._ndcg if name != MODEL]
        gains: dict[Relation, dict[str, Any]] = {}
        for (relation, part), values in self._ndcg[MODEL].items() if rivals else ():
            gain = None
            if len(values):
                # The best by the test queries themselves: the choice favours the baseline, never the model.
                best = max(rivals, key=lambda name: float(self._ndcg[name][relation, part].mean()))
                rival = self._ndcg[best][relation, part]
                generator = numpy_generator(self._seed, f"evaluate/gain/{relation}/{part}")
                gain = {
                    "baseline": best,
                    "ndcg@10": float(rival.mean()),
                    **paired_gain(values, rival, generator, self._resamples),
                }
            gains.setdefault(relation, {})[part] = gain
        return gains
