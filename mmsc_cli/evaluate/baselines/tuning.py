"""Choosing a baseline's setting: every point of its grid is fitted, and the best on validation is kept.

A baseline of the registry, as everything that ranks sees it.

The figure by which settings are chosen and training stops: NDCG@10 on validation pairs, never on test pairs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.evaluate.baselines.baseline import Baseline, FittingTask, ScoreRows, Setting, on_cpu
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import Slice, SliceName, validation_protocol
from mmsc_cli.evaluate.rank import rank_catalogue
from mmsc_cli.metrics.retrieval import NDCG
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import Relation

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Trial:
    """One point of the grid: its NDCG@10 on validation (None: no queries there), and what fitting and ranking took."""

    setting: Setting
    ndcg: float | None
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """A baseline fitted with the chosen setting, and how that was chosen."""

    rows: ScoreRows
    setting: Setting
    trials: tuple[Trial, ...]
    seconds: float

    def report(self) -> dict[str, Any]:
        """JSON values: `setting`; `grid` with `setting`, `ndcg@10` and `seconds` of each point; `seconds` in all."""
        points = [
            {"setting": dict(trial.setting), "ndcg@10": trial.ndcg, "seconds": round(trial.seconds, 3)}
            for trial in self.trials
        ]
        return {"setting": dict(self.setting), "grid": points, "seconds": round(self.seconds, 3)}


def tune(baseline: Baseline, task: FittingTask) -> Tuned:
    """Fit a baseline with each setting of its grid and keep the best; between equals, the earlier one.

    The best so far stays in memory beside the one being fitted, which is cheaper than fitting it again; unless there is
    no room for both.
    """
    started = time.perf_counter()
    trials: list[Trial] = []
    kept: tuple[Trial, ScoreRows | None] | None = None

    def fit(point: FittingTask, setting: Setting) -> ScoreRows:
        nonlocal kept
        try:
            return baseline.fit(point, **setting)
        except MemoryError:
            if kept is None or kept[1] is None:
                raise
        # Here the error is gone, and with it what the failed try holds.
        kept = kept[0], None
        return baseline.fit(point, **setting)

    for number, setting in enumerate(baseline.grid, start=1):
        trial_started = time.perf_counter()
        point = replace(task, label=f"{task.label}, setting {number} of {len(baseline.grid)}")
        rows = fit(point, setting)
        ndcg = task.validation.ndcg(rows, point.label, task.progress)
        trials.append(Trial(setting, ndcg, time.perf_counter() - trial_started))
        if kept is None or _is_better(ndcg, kept[0].ndcg):
            kept = trials[-1], rows
        # A dense item-to-item model that lost must not lie in memory beside the next one.
        del rows
    if kept is None:
        return Tuned(baseline.fit(task), {}, (), time.perf_counter() - started)
    best, chosen = kept
    if chosen is None:
        chosen = baseline.fit(task, **best.setting)
    return Tuned(chosen, best.setting, tuple(trials), time.perf_counter() - started)


def _is_better(ndcg: float | None, than: float | None) -> bool:
    return ndcg is not None and (than is None or ndcg > than)


QUERIES = 2_000


class ValidationQueries:
    """Validation queries of one relation, at most QUERIES of each kind, the same for all baselines."""

    def __init__(self, context: EvaluationContext, relation: Relation, *, cold: bool) -> None:
        """Draw the queries; those of cold_valid items only if `cold`. Test pairs are dropped before anything else."""
        protocol = validation_protocol(relation, context.pairs.of("train", "valid"), context.item_split)
        kinds: tuple[SliceName, ...] = ("all", "cold") if cold else ("all",)
        drawn = {kind: _draw(protocol.slices[kind], context.seed, f"{relation}/{kind}") for kind in kinds}
        self._protocol = replace(protocol, slices={kind: part for kind, part in drawn.items() if len(part.queries)})

    @property
    def kinds(self) -> list[str]:
        """What kinds of queries there are: `warm`, `cold`, both or none."""
        return ["warm" if kind == "all" else "cold" for kind in self._protocol.slices]

    def ndcg(self, rows: ScoreRows, name: str, progress: Progress = SILENT) -> float | None:
        """NDCG@10, the mean over the kinds of queries; None where there is no query.

        Raises:
            InputError: the scores contain NaN.
        """
        if not self._protocol.slices:
            return None
        ranking = rank_catalogue(_Rows(rows), self._protocol, name=f"{name} (validation)", progress=progress)
        return float(np.mean([ranking.of_slice(kind)[:, NDCG].mean() for kind in self._protocol.slices]))


class _Rows:
    """The scores of one relation, as a scorer."""

    def __init__(self, rows: ScoreRows) -> None:
        self._rows = rows

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of shape (queries, items)."""
        return self._rows(queries)


def _draw(part: Slice, seed: int, name: str) -> Slice:
    generator = numpy_generator(seed, f"evaluate/validation/{name}")
    count = min(QUERIES, len(part.queries))
    return replace(part, queries=np.sort(generator.choice(part.queries, count, replace=False)))


class BaselineScorer:
    """Tunes and fits one relation at a time, when it is first asked for, and forgets the one before.

    A dense item-to-item model of 30,000 items takes 3.6 GB per relation: two need not lie in memory at once.

    Attributes:
        tuning: how the setting of each relation fitted so far was chosen; see `report` in `tuning`.
    """

    def __init__(
        self,
        name: str,
        baseline: Baseline,
        context: EvaluationContext,
        device: Callable[[], torch.device] = on_cpu,
        progress: Progress = SILENT,
    ) -> None:
        self._name = name
        self._baseline = baseline
        self._context = context
        self._device = device
        self._progress = progress
        self._fitted: tuple[Relation, ScoreRows] | None = None
        self.tuning: dict[Relation, dict[str, Any]] = {}

    @property
    def fit_seconds(self) -> float:
        """What tuning and fitting of the relations fitted so far took."""
        return float(sum(report["seconds"] for report in self.tuning.values()))

    def fit(self, relation: Relation) -> None:
        """Tune and fit a relation now, unless it is the one that is fitted."""
        self._rows(relation)

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return scores of shape (queries, items)."""
        return self._rows(relation)(queries)

    def _rows(self, relation: Relation) -> ScoreRows:
        if self._fitted is None or self._fitted[0] != relation:
            self._fitted = None
            validation = ValidationQueries(self._context, relation, cold=self._baseline.answers_cold)
            task = FittingTask(
                self._context.for_fitting(),
                relation,
                validation,
                f"{self._name}: {relation}",
                self._device,
                self._progress,
            )
            tuned = tune(self._baseline, task)
            self._fitted = relation, tuned.rows
            self.tuning[relation] = {**tuned.report(), "chosen_on": validation.kinds if self._baseline.grid else []}
        return self._fitted[1]
