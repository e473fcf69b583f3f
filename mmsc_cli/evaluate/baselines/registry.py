"""The baselines by name, and the meaning of `--baselines`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.baselines.nearest import check_modality, fit_knn, fit_knn_transfer
from mmsc_cli.evaluate.baselines.neighbours import (
    check_ease,
    fit_common_neighbours,
    fit_ease,
    fit_resource_allocation,
)
from mmsc_cli.evaluate.baselines.popularity import fit_category_popularity, fit_popularity
from mmsc_cli.evaluate.baselines.scorer import BaselineScorer, FitRelation
from mmsc_cli.evaluate.context import FittingContext

Check = Callable[[FittingContext], None]


def _always(context: FittingContext) -> None:
    """Needs nothing but pairs and categories."""


@dataclass(frozen=True)
class Baseline:
    """How a baseline is fitted for one relation; `check` raises InputError where what it needs is missing."""

    fit: FitRelation
    check: Check = _always


BASELINES: dict[str, Baseline] = {
    "popularity": Baseline(fit_popularity),
    "category-popularity": Baseline(fit_category_popularity),
    "text-knn": Baseline(fit_knn("text"), partial(check_modality, modality="text")),
    "image-knn": Baseline(fit_knn("image"), partial(check_modality, modality="image")),
    "common-neighbours": Baseline(fit_common_neighbours),
    "resource-allocation": Baseline(fit_resource_allocation),
    "ease": Baseline(fit_ease, check_ease),
    "knn-transfer": Baseline(fit_knn_transfer, partial(check_modality, modality="text")),
}


@dataclass(frozen=True)
class BaselineChoice:
    """Names in the order of the registry; if `lenient`, those that cannot be fitted are left out."""

    names: tuple[str, ...]
    lenient: bool = False


def parse_baselines(value: str | Sequence[str]) -> BaselineChoice:
    """Read `all`, `none`, or names (in one string separated by commas, or as a list).

    Raises:
        InputError: a name is unknown; the hint lists those there are.
    """
    parts = value.split(",") if isinstance(value, str) else value
    names = [part.strip() for part in parts if part.strip()]
    if names == ["all"]:
        return BaselineChoice(tuple(BASELINES), lenient=True)
    if names == ["none"]:
        return BaselineChoice(())
    known = f"known: {', '.join(BASELINES)}; or all, or none"
    if not names:
        raise InputError("--baselines names no baseline", hint=known)
    unknown = sorted(set(names) - set(BASELINES))
    if unknown:
        raise InputError(f"unknown baseline {', '.join(unknown)}", hint=known)
    return BaselineChoice(tuple(name for name in BASELINES if name in names))


def applicable(choice: BaselineChoice, context: FittingContext) -> tuple[tuple[str, ...], dict[str, str]]:
    """Split a choice into the names to fit and, for `all`, those left out with the reason.

    Raises:
        InputError: a baseline asked for by name cannot be fitted here.
    """
    fitting: list[str] = []
    skipped: dict[str, str] = {}
    for name in choice.names:
        try:
            BASELINES[name].check(context)
        except InputError as error:
            if not choice.lenient:
                raise
            skipped[name] = error.message
        else:
            fitting.append(name)
    return tuple(fitting), skipped


def fit_baseline(name: str, context: FittingContext) -> BaselineScorer:
    """Return a scorer of the named baseline; it fits each relation when first asked for it.

    Raises:
        InputError: the baseline cannot be fitted here.
    """
    baseline = BASELINES[name]
    baseline.check(context)
    return BaselineScorer(context, baseline.fit)
