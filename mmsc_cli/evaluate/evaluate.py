"""The evaluation as a whole: protocol, model, baselines, sampled protocol, truth and ablation in one result.

Judging one scorer after another by the same questions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmsc_cli.evaluate.ablation import AblationPlan, ablate
from mmsc_cli.evaluate.baselines.baseline import on_cpu
from mmsc_cli.evaluate.baselines.registry import applicable, fit_baseline, parse_baselines
from mmsc_cli.evaluate.baselines.tuning import BaselineScorer
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.degree import DEGREE_SLICE, by_degree
from mmsc_cli.evaluate.gates import MODEL
from mmsc_cli.evaluate.protocol import (
    SLICE_MEANINGS,
    SLICES,
    TAIL_BELOW,
    RelationProtocol,
    check_split,
    relation_protocol,
    training_degree,
)
from mmsc_cli.evaluate.rank import mean_figures, rank_catalogue, summarise_slice
from mmsc_cli.evaluate.sampled import NOTE, PAIR_CAP, SampledPairs, draw_sampled_pairs
from mmsc_cli.evaluate.truth import TRUE_SLICES, KnownTruth, describe_truth, with_truth
from mmsc_cli.metrics.retrieval import CUTOFF
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.relations import RELATIONS, Relation

if TYPE_CHECKING:
    import torch


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


_LOG = logging.getLogger("mmsc_cli")


def evaluate(
    context: EvaluationContext,
    model: Scorer,
    *,
    baselines: str | Sequence[str] = "none",
    negatives: int = 1_000,
    bootstrap: int = 1_000,
    fit_seconds: float | None = None,
    truth: KnownTruth | None = None,
    ablation: AblationPlan | None = None,
    device: Callable[[], torch.device] = on_cpu,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Judge a trained model, and baselines beside it, by the protocol.

    Args:
        model: scores the rows of this context's catalogue; reported as `mmsc`.
        baselines: what `parse_baselines` reads.
        negatives: how many are drawn per pair in the sampled protocol.
        bootstrap: number of resamples behind an interval.
        fit_seconds: how long the model took to train, to stand beside the baselines' time.
        truth: what is true of a synthetic catalogue, None where nobody knows.
        ablation: what to retrain, None for nothing.
        device: where graph baselines compute; asked only when one is fitted.

    Returns:
        JSON values: `protocol`, `models`, `by_degree`, `sampled`, `truth` where it is known, and `ablation` if asked
        for; see docs/evaluation.md. A figure is None where a slice has no queries.

    Raises:
        InputError: a baseline is unknown or cannot be fitted here, or scores contain NaN.
        WorkspaceError: the pair table's hold-out leaks.
    """
    names, skipped = applicable(parse_baselines(baselines), context.for_fitting())
    for name, reason in skipped.items():
        _LOG.warning("baseline %s is left out: %s", name, reason)
    check_split(context.pairs, context.item_split)
    protocols = {relation: relation_protocol(relation, context.pairs, context.item_split) for relation in RELATIONS}
    drawn = {
        relation: draw_sampled_pairs(protocol, context.pairs, context.seed, negatives)
        for relation, protocol in protocols.items()
    }
    if truth is not None:
        protocols = {
            relation: with_truth(protocol, truth, context.item_split) for relation, protocol in protocols.items()
        }
    judge = Judge(context, protocols, drawn, bootstrap, progress)
    models: dict[str, Any] = {}
    sampled: dict[str, Any] = {}
    models[MODEL], sampled[MODEL], seconds = judge(MODEL, model)
    models[MODEL]["seconds"] = {"fit": fit_seconds, "score": round(seconds, 3)}
    for name in names:
        scorer = fit_baseline(name, context, device, progress)
        models[name], sampled[name], seconds = judge(name, scorer)
        models[name]["seconds"] = {"fit": round(scorer.fit_seconds, 3), "score": round(seconds, 3)}
        models[name]["tuning"] = scorer.tuning
    result = {
        "protocol": _describe(context, bootstrap, skipped),
        "models": models,
        "by_degree": {"slice": DEGREE_SLICE, "models": judge.by_degree},
        "sampled": {"note": NOTE, "negatives": negatives, "pair_cap": PAIR_CAP, "models": sampled},
    }
    if truth is not None:
        result["truth"] = describe_truth(truth, context.items, judge.true)
    if ablation is not None:
        result["ablation"] = ablate(ablation, protocols, seed=context.seed, resamples=bootstrap, progress=progress)
    return result


def _describe(context: EvaluationContext, bootstrap: int, skipped: Mapping[str, str]) -> dict[str, Any]:
    pairs, items = context.pairs, context.item_split
    return {
        "ranking": "whole catalogue",
        "cutoff": CUTOFF,
        "ties": "a positive ranks behind every wrong item of the same score",
        "masked": "the query and its training and validation pairs of either relation",
        "slices": dict(SLICE_MEANINGS),
        "tail_below": TAIL_BELOW,
        "items": {split: int((items == split).sum()) for split in ("warm", "cold_valid", "cold_test")},
        "pairs": {split: int((pairs.split == split).sum()) for split in ("train", "valid", "test")},
        "interval": {"level": 0.95, "method": "percentile bootstrap over queries", "resamples": bootstrap},
        "seed": context.seed,
        "baselines_left_out": dict(skipped),
    }
