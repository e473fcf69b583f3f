"""The worth of each part of the model: retrain without it, and compare query by query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.protocol import SLICES, RelationProtocol, SliceName, TrueSliceName
from mmsc_cli.evaluate.rank import rank_catalogue
from mmsc_cli.metrics.bootstrap import bootstrap_interval_over_seeds
from mmsc_cli.metrics.retrieval import FIGURES, NDCG
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.model.parts import Part
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import Relation

Verdict = Literal["helps", "hurts", "no difference", "cannot tell"]
FitModel = Callable[[tuple[Part, ...], int], Scorer]
# Those of truth mode exist for generated catalogues alone.
ABLATED_SLICES: tuple[SliceName | TrueSliceName, ...] = (
    *SLICES,
    "true_warm",
    "true_cold",
)
# A whole interval within this of 0 says that the part changes nothing; a wider one that holds 0 says nothing.
NEXT_TO_NOTHING = 0.0005
_Figures = dict[tuple[Relation, SliceName | TrueSliceName], NDArray[np.float64]]


@dataclass(frozen=True)
class AblationPlan:
    """What to retrain.

    Attributes:
        fit: trains the model without the given parts, from a seed; `()` is the full model.
        parts: each is left out by itself.
        seeds: every variant is trained from each of them.
        not_tested: parts that do nothing in this model, with the reason; a verdict would say that they are useless, but
            they were not there.
        annotator: who made the labels of the part `llm`, None where there are none.
    """

    fit: FitModel
    parts: tuple[Part, ...]
    seeds: tuple[int, ...]
    not_tested: Mapping[Part, str] = field(default_factory=dict)
    annotator: str | None = None

    def __post_init__(self) -> None:
        if not self.seeds:
            raise InputError("an ablation needs at least one seed", hint="use --seeds 3")


def ablate(
    plan: AblationPlan,
    protocols: Mapping[Relation, RelationProtocol],
    *,
    seed: int,
    resamples: int = 1_000,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train and rank every variant.

    Returns:
        `seeds`; `annotator`; `full`: mean and standard deviation over the seeds of each figure, per relation and slice;
        `parts`: per part, relation and slice the NDCG@10 of the full model minus that without the part, its paired
        bootstrap interval over queries and seeds, the difference from each seed, and a verdict on the part;
        `not_tested`: the reason per part.
    """
    full = _figures_per_seed(plan, (), protocols, progress)
    parts: dict[str, Any] = {}
    for part in plan.parts:
        without = _figures_per_seed(plan, (part,), protocols, progress)
        parts[part] = _per_relation(
            {key: compare(full[key], without[key], f"{part}/{key[0]}/{key[1]}", seed, resamples) for key in full}
        )
    return {
        "seeds": list(plan.seeds),
        "annotator": plan.annotator,
        "not_tested": dict(plan.not_tested),
        "full": _per_relation({key: _spread(values) for key, values in full.items()}),
        "parts": parts,
    }


def compare(
    full: NDArray[np.float64], without: NDArray[np.float64], name: str, seed: int, resamples: int
) -> dict[str, Any]:
    """Compare the NDCG@10 of figures of shape (seeds, queries, 4); all are None where there is no query."""
    by_seed = full[:, :, NDCG] - without[:, :, NDCG]
    generator = numpy_generator(seed, f"evaluate/ablation/{name}")
    interval = bootstrap_interval_over_seeds(by_seed, generator, resamples)
    if interval is None:
        names = ("difference", "difference_ci", "difference_by_seed", "without", "verdict")
        return {**dict.fromkeys(names), "queries": 0}
    return {
        "difference": float(by_seed.mean()),
        "difference_ci": list(interval),
        "difference_by_seed": by_seed.mean(axis=1).tolist(),
        "without": float(without[:, :, NDCG].mean()),
        "queries": by_seed.shape[1],
        "verdict": _verdict(*interval),
    }


def _verdict(low: float, high: float) -> Verdict:
    if max(abs(low), abs(high)) < NEXT_TO_NOTHING:
        return "no difference"
    if low > 0:
        return "helps"
    return "hurts" if high < 0 else "cannot tell"


def _figures_per_seed(
    plan: AblationPlan,
    without: tuple[Part, ...],
    protocols: Mapping[Relation, RelationProtocol],
    progress: Progress,
) -> _Figures:
    """Figures of one variant per relation and slice, shape (seeds, queries, 4)."""
    name = f"mmsc without {without[0]}" if without else "mmsc"
    figures: dict[tuple[Relation, SliceName | TrueSliceName], list[NDArray[np.float64]]] = {}
    for seed in plan.seeds:
        scorer = plan.fit(without, seed)
        for relation, protocol in protocols.items():
            ranking = rank_catalogue(scorer, protocol, name=f"{name}, seed {seed}", progress=progress)
            for part in ABLATED_SLICES:
                if part in protocol.slices:
                    figures.setdefault((relation, part), []).append(ranking.of_slice(part))
    return {key: np.stack(values) for key, values in figures.items()}


def _spread(figures: NDArray[np.float64]) -> dict[str, Any]:
    seeds, queries, _ = figures.shape
    if not queries:
        return {**{name: {"mean": None, "std": None} for name in FIGURES}, "queries": 0}
    per_seed = figures.mean(axis=1)
    means = per_seed.mean(axis=0).tolist()
    deviations = per_seed.std(axis=0, ddof=1).tolist() if seeds > 1 else [None] * len(FIGURES)
    spread = {name: {"mean": m, "std": s} for name, m, s in zip(FIGURES, means, deviations, strict=True)}
    return {**spread, "queries": queries}


def _per_relation(values: Mapping[tuple[Relation, SliceName | TrueSliceName], dict[str, Any]]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for (relation, part), value in values.items():
        nested.setdefault(relation, {})[part] = value
    return nested
