"""The evaluation as a whole: protocol, model, baselines, sampled protocol, truth and ablation in one result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmsc_cli.evaluate.ablation import AblationPlan, ablate
from mmsc_cli.evaluate.baselines.baseline import on_cpu
from mmsc_cli.evaluate.baselines.registry import applicable, fit_baseline, parse_baselines
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.degree import DEGREE_SLICE
from mmsc_cli.evaluate.gate import MODEL
from mmsc_cli.evaluate.judge import Judge
from mmsc_cli.evaluate.protocol import SLICE_MEANINGS, TAIL_BELOW, check_split, relation_protocol
from mmsc_cli.evaluate.sampled import NOTE, PAIR_CAP, draw_sampled_pairs
from mmsc_cli.evaluate.truth import KnownTruth, describe_truth, with_truth
from mmsc_cli.metrics.retrieval import CUTOFF
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.relations import RELATIONS

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
