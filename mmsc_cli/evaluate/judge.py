"""Judging one scorer after another by the same questions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mmsc_cli.evaluate.baselines.scorer import BaselineScorer
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.degree import by_degree
from mmsc_cli.evaluate.protocol import SLICES, RelationProtocol, training_degree
from mmsc_cli.evaluate.ranking import mean_figures, rank_catalogue, summarise_slice
from mmsc_cli.evaluate.sampled import SampledPairs
from mmsc_cli.evaluate.truth import TRUE_SLICES
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.relations import Relation


class Judge:
    """Ranks the catalogue once per scorer and relation, and reads every figure off that ranking.

    Attributes:
        by_degree: per scorer judged so far and relation, figures by training pairs of the query.
        true: the same against the true relations, empty slices and all; empty where the protocols have none.
    """

    def __init__(
        self,
        context: EvaluationContext,
        protocols: Mapping[Relation, RelationProtocol],
        drawn: Mapping[Relation, SampledPairs],
        bootstrap: int,
        progress: Progress = SILENT,
    ) -> None:
        self._seed = context.seed
        self._protocols = protocols
        self._drawn = drawn
        self._bootstrap = bootstrap
        self._progress = progress
        self._degree = {relation: training_degree(relation, context.pairs, context.items) for relation in protocols}
        self.by_degree: dict[str, dict[Relation, list[dict[str, Any]]]] = {}
        self.true: dict[str, dict[Relation, dict[str, Any]]] = {}

    def __call__(self, name: str, scorer: Scorer) -> tuple[dict[str, Any], dict[str, Any], float]:
        """Return the block of a scorer under `models`, that under `sampled`, and the seconds its scores took."""
        figures: dict[str, Any] = {}
        sampled: dict[str, Any] = {}
        seconds = 0.0
        self.by_degree[name], self.true[name] = {}, {}
        for relation, protocol in self._protocols.items():
            pairs = self._drawn[relation]
            if isinstance(scorer, BaselineScorer):
                # Before it is asked for scores, so that neither time nor progress of the two are mixed up.
                scorer.fit(relation)
            started = time.perf_counter()
            ranking = rank_catalogue(scorer, protocol, name=name, sampled=pairs, progress=self._progress)
            seconds += time.perf_counter() - started
            figures[relation] = {part: summarise_slice(ranking, part, self._seed, self._bootstrap) for part in SLICES}
            self.true[name][relation] = {
                part: summarise_slice(ranking, part, self._seed, self._bootstrap)
                for part in TRUE_SLICES
                if part in protocol.slices
            }
            self.by_degree[name][relation] = by_degree(ranking, self._degree[relation], self._seed, self._bootstrap)
            sampled[relation] = {
                **mean_figures(ranking.sampled),
                "pairs": len(pairs.query),
                "pairs_available": pairs.available,
            }
        return figures, sampled, seconds
