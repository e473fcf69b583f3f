"""The evaluation as a whole: protocol, model, baselines, sampled protocol and ablation in one result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mmsc_cli.evaluate.ablation import AblationPlan, ablate
from mmsc_cli.evaluate.baselines.baseline import on_cpu
from mmsc_cli.evaluate.baselines.registry import applicable, fit_baseline, parse_baselines
from mmsc_cli.evaluate.baselines.scorer import BaselineScorer
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.gate import MODEL
from mmsc_cli.evaluate.protocol import (
    SLICE_MEANINGS,
    SLICES,
    TAIL_BELOW,
    RelationProtocol,
    check_split,
    relation_protocol,
)
from mmsc_cli.evaluate.ranking import mean_figures, rank_catalogue, summarise_slice
from mmsc_cli.evaluate.sampled import NOTE, PAIR_CAP, SampledPairs, draw_sampled_pairs
from mmsc_cli.metrics import CUTOFF
from mmsc_cli.progress import SILENT, Progress
from mmsc_cli.relations import RELATIONS, Relation
from mmsc_cli.scoring import Scorer

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger("mmsc_cli")


def evaluate(
    context: EvaluationContext,
    model: Scorer,
    *,
    baselines: str | Sequence[str] = "none",
    negatives: int = 1_000,
    bootstrap: int = 1_000,
    fit_seconds: float | None = None,
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
        ablation: what to retrain, None for nothing.
        device: where graph baselines compute; asked only when one is fitted.

    Returns:
        JSON values: `protocol`, `models`, `sampled`, and `ablation` if asked for. A figure is None where a
        slice has no queries.

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
    judge = partial(_judge, context=context, protocols=protocols, drawn=drawn, bootstrap=bootstrap, progress=progress)
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
        "sampled": {"note": NOTE, "negatives": negatives, "pair_cap": PAIR_CAP, "models": sampled},
    }
    if ablation is not None:
        result["ablation"] = ablate(ablation, protocols, seed=context.seed, resamples=bootstrap, progress=progress)
    return result


def _judge(
    name: str,
    scorer: Scorer,
    context: EvaluationContext,
    protocols: Mapping[Relation, RelationProtocol],
    drawn: Mapping[Relation, SampledPairs],
    bootstrap: int,
    progress: Progress,
) -> tuple[dict[str, Any], dict[str, Any], float]:
    """The block of one scorer under `models`, that under `sampled`, and the seconds its scores took."""
    figures: dict[str, Any] = {}
    sampled: dict[str, Any] = {}
    seconds = 0.0
    for relation, protocol in protocols.items():
        pairs = drawn[relation]
        if isinstance(scorer, BaselineScorer):
            # Before it is asked for scores, so that neither time nor progress of the two are mixed up.
            scorer.fit(relation)
        started = time.perf_counter()
        ranking = rank_catalogue(scorer, protocol, name=name, sampled=pairs, progress=progress)
        seconds += time.perf_counter() - started
        figures[relation] = {part: summarise_slice(ranking, part, context.seed, bootstrap) for part in SLICES}
        sampled[relation] = {
            **mean_figures(ranking.sampled),
            "pairs": len(pairs.query),
            "pairs_available": pairs.available,
        }
    return figures, sampled, seconds


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
