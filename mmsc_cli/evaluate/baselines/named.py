"""The baselines by name, and the meaning of `--baselines`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.baselines.baseline import Baseline, on_cpu
from mmsc_cli.evaluate.baselines.counting import (
    RESOURCE_ALLOCATION_GRID,
    fit_category_popularity,
    fit_common_neighbours,
    fit_popularity,
    fit_resource_allocation,
)
from mmsc_cli.evaluate.baselines.factors import ALS_GRID, EASE_GRID, check_als, fit_als, fit_ease
from mmsc_cli.evaluate.baselines.graph.fit import (
    DECGCN_GRID,
    GRAPHSAGE_GRID,
    LIGHTGCN_GRID,
    SCOMGNN_GRID,
    fit_decgcn,
    fit_graphsage,
    fit_lightgcn,
    fit_scomgnn,
)
from mmsc_cli.evaluate.baselines.nearest import KNN_TRANSFER_GRID, find_modality, fit_knn, fit_knn_transfer
from mmsc_cli.evaluate.baselines.ppr import PPR_GRID, fit_ppr
from mmsc_cli.evaluate.baselines.tuning import BaselineScorer
from mmsc_cli.evaluate.context import EvaluationContext, FittingContext
from mmsc_cli.evaluate.settings import DEFAULT_BASELINES
from mmsc_cli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch

_check_text = partial(find_modality, name="text")
_check_image = partial(find_modality, name="image")
_check_joint = partial(find_modality, name="joint")

# From knowing least to knowing most; tables and reports keep this order.
BASELINES: dict[str, Baseline] = {
    "popularity": Baseline(fit_popularity),
    "category-popularity": Baseline(fit_category_popularity, answers_cold=True),
    "text-knn": Baseline(fit_knn("text"), answers_cold=True, check=_check_text),
    "image-knn": Baseline(fit_knn("image"), answers_cold=True, check=_check_image),
    "joint-knn": Baseline(fit_knn("joint"), answers_cold=True, check=_check_joint),
    "common-neighbours": Baseline(fit_common_neighbours),
    "resource-allocation": Baseline(fit_resource_allocation, RESOURCE_ALLOCATION_GRID),
    "ppr": Baseline(fit_ppr, PPR_GRID, uses_outside=True),
    "ease": Baseline(fit_ease, EASE_GRID, uses_outside=True),
    "als": Baseline(fit_als, ALS_GRID, check=check_als),
    "lightgcn": Baseline(fit_lightgcn, LIGHTGCN_GRID, uses_outside=True),
    "graphsage": Baseline(fit_graphsage, GRAPHSAGE_GRID, answers_cold=True, uses_outside=True, check=_check_text),
    "decgcn": Baseline(fit_decgcn, DECGCN_GRID, uses_outside=True),
    "scomgnn": Baseline(fit_scomgnn, SCOMGNN_GRID, uses_outside=True),
    "knn-transfer": Baseline(
        fit_knn_transfer, KNN_TRANSFER_GRID, answers_cold=True, uses_outside=True, check=_check_text
    ),
}


def parse_baselines(value: str | Sequence[str]) -> tuple[str, ...]:
    """Read `all`, `none`, or names (in one string separated by commas, or as a list), in the order of BASELINES.

    Raises:
        InputError: a name is unknown; the hint lists the valid ones.
    """
    parts = value.split(",") if isinstance(value, str) else value
    names = [part.strip() for part in parts if part.strip()]
    if names == ["all"]:
        return tuple(BASELINES)
    if names == ["none"]:
        return ()
    unknown = sorted(set(names) - set(BASELINES))
    if unknown or not names:
        message = f"unknown baseline {', '.join(unknown)}" if unknown else "--baselines names no baseline"
        raise InputError(message, hint=f"known: {', '.join(BASELINES)}; or all, or none")
    return tuple(name for name in BASELINES if name in names)


def applicable(value: str | Sequence[str], context: FittingContext) -> tuple[list[str], dict[str, str]]:
    """Split what `parse_baselines` reads into the names to fit and those left out with the reason.

    Of `all` and of the default set, what does not apply is left out: nobody asked for it by name.

    Raises:
        InputError: a baseline that was named is unknown or cannot be fitted here.
    """
    names, left_out = list(parse_baselines(value)), {}
    by_name = value != "all" and tuple(value) != DEFAULT_BASELINES
    for name in parse_baselines(value):
        try:
            BASELINES[name].check(context)
        except InputError as error:
            if by_name:
                raise
            names.remove(name)
            left_out[name] = error.message
    return names, left_out


def fit_baseline(
    name: str,
    context: EvaluationContext,
    device: Callable[[], torch.device] = on_cpu,
    progress: Progress = SILENT,
) -> BaselineScorer:
    """Return a scorer of the named baseline; it tunes and fits each relation when first asked for it.

    Args:
        name: as in BASELINES.
        context: what it is tuned and fitted on.
        device: where networks compute; called only when one is fitted.
        progress: told of long work.

    Raises:
        InputError: the baseline cannot be fitted here.
    """
    baseline = BASELINES[name]
    baseline.check(context.for_fitting("train"))
    return BaselineScorer(name, baseline, context, device, progress)
