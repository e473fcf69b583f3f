"""The evaluation as a whole: protocol, model, baselines, sampled protocol, truth and ablation in one result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mmsc_cli.evaluate.ablation import AblationPlan, ablate
from mmsc_cli.evaluate.baselines.baseline import on_cpu
from mmsc_cli.evaluate.baselines.named import applicable, fit_baseline
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.lists import describe_lists
from mmsc_cli.evaluate.protocol import MODEL, SLICE_MEANINGS, TAIL_BELOW, check_split
from mmsc_cli.evaluate.rank import DEGREE_SLICE
from mmsc_cli.evaluate.sampled import NOTE, PAIR_CAP
from mmsc_cli.evaluate.scoreboard import Scoreboard, draw_queries
from mmsc_cli.evaluate.settings import EvaluateSettings
from mmsc_cli.evaluate.truth_mode import KnownTruth, describe_truth
from mmsc_cli.metrics.bootstrap import LEVEL
from mmsc_cli.metrics.retrieval import CUTOFF
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)


def evaluate(
    context: EvaluationContext,
    model: Scorer,
    settings: EvaluateSettings,
    *,
    fit_seconds: float | None = None,
    truth: KnownTruth | None = None,
    ablation: AblationPlan | None = None,
    device: Callable[[], torch.device] = on_cpu,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Judge a trained model, and baselines beside it, by the protocol.

    Args:
        context: the artefacts to judge by.
        model: scores the rows of this context's catalogue; reported as `mmsc`.
        settings: baselines, negatives of the sampled protocol, and resamples of an interval.
        fit_seconds: training time of the model, reported beside the baselines'.
        truth: the true relations of a generated catalogue, None where they are not known.
        ablation: what to retrain, None for nothing.
        device: where graph baselines compute; called only when one is fitted.
        progress: told of long work.

    Returns:
        JSON values: `protocol`, `models`, `gains`, `lists`, `by_degree`, `sampled`, `truth` where it is known, and
        `ablation` if asked for; see docs/evaluation.md. A figure is None where a slice has no queries.

    Raises:
        InputError: a baseline is unknown or cannot be fitted here, or scores contain NaN.
        WorkspaceError: the pair table's hold-out leaks.
    """
    names, left_out = applicable(settings.baselines, context.for_fitting("train"))
    for name, reason in left_out.items():
        _LOG.warning("baseline %s is left out: %s", name, reason)
    check_split(context.pairs, context.item_split)
    queries = draw_queries(context, settings.negatives, truth)
    board = Scoreboard(queries, context.seed, settings.bootstrap, progress)
    board.add(MODEL, model, fit_seconds)
    for name in names:
        board.add(name, fit_baseline(name, context, device, progress))
    protocols = {relation: asked.protocol for relation, asked in queries.items()}
    result = {
        "protocol": _describe(context, settings.bootstrap, left_out),
        "models": board.models,
        "gains": board.gains(),
        "lists": describe_lists(context, model, protocols),
        "by_degree": {"slice": DEGREE_SLICE, "models": board.by_degree},
        "sampled": {"note": NOTE, "negatives": settings.negatives, "pair_cap": PAIR_CAP, "models": board.sampled},
    }
    if truth is not None:
        result["truth"] = describe_truth(truth, context.n_items, board.true)
    if ablation is not None:
        result["ablation"] = ablate(
            ablation, protocols, seed=context.seed, resamples=settings.bootstrap, progress=progress
        )
    return result


def _describe(context: EvaluationContext, resamples: int, left_out: Mapping[str, str]) -> dict[str, Any]:
    pairs, item_split = context.pairs, context.item_split
    return {
        "ranking": "whole catalogue",
        "cutoff": CUTOFF,
        "ties": "a positive ranks behind every wrong item of the same score",
        "masked": "the query and its training and validation pairs of either relation",
        "slices": dict(SLICE_MEANINGS),
        "tail_below": TAIL_BELOW,
        "items": {split: int((item_split == split).sum()) for split in ("warm", "cold_valid", "cold_test")},
        "pairs": {split: int((pairs.split == split).sum()) for split in ("train", "valid", "test")},
        "interval": {"level": LEVEL, "method": "percentile bootstrap over queries", "resamples": resamples},
        "gain": "NDCG@10 of the model over the baseline that is best on the slice, query by query",
        "seed": context.seed,
        "baselines_left_out": dict(left_out),
    }
