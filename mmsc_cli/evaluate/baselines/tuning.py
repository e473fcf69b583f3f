"""Choosing a baseline's setting on validation pairs, and fitting it with that setting on all that the model has.

Every point of the grid is fitted on the training pairs and judged by NDCG@10 on the validation pairs, never by test
pairs. The model learns from validation pairs after its settings are chosen, so the baseline is then fitted once more on
training and validation pairs.

Where training started from the last time, what was chosen then is kept, as the model's own choices are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
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

QUERIES = 2_000


@dataclass(frozen=True)
class Trial:
    """One point of the grid.

    Attributes:
        setting: arguments of the fit.
        with_outside: whether partners outside the catalogue were evidence.
        ndcg: NDCG@10 on validation; None where there is no query.
        checks: after how many checks a network was best; None for everything else.
        seconds: of fitting and ranking.
    """

    setting: Setting
    with_outside: bool
    ndcg: float | None
    checks: int | None
    seconds: float

    def report(self) -> dict[str, Any]:
        """JSON values: `setting`, with `outside` where such partners were used; `ndcg@10`; `seconds`."""
        setting = dict(self.setting) | ({"outside": True} if self.with_outside else {})
        return {"setting": setting, "ndcg@10": self.ndcg, "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Chosen:
    """What was chosen for one relation: a setting, whether partners outside are evidence, and checks of a network."""

    setting: Setting
    with_outside: bool
    checks: int | None

    @classmethod
    def of_report(cls, report: Mapping[str, Any], baseline: Baseline) -> Chosen | None:
        """What a `tuning` report says; None where it names no point of the baseline's grid of today, or is too old."""
        if "checks" not in report:
            return None
        setting = dict(report["setting"])
        with_outside = bool(setting.pop("outside", False))
        return cls(setting, with_outside, report["checks"]) if setting in map(dict, baseline.grid) else None


class BaselineScorer:
    """Tunes and fits one relation at a time, when it is first asked for, and forgets the one before.

    A dense item-to-item model of 30,000 items takes 3.6 GB per relation: two need not lie in memory at once.

    Attributes:
        tuning: how the setting of each relation fitted so far was chosen. JSON values: `setting`; `grid` with
            `setting`, `ndcg@10` and `seconds` of each point; `chosen_on`, the kinds of validation queries; `fitted_on`,
            the splits of its pairs; the best number of `checks` of a network; `seconds` in all. Of a choice that was
            kept, `grid` and `chosen_on` are those of then.
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
        """Seconds of tuning and fitting the relations fitted so far."""
        return float(sum(report["seconds"] for report in self.tuning.values()))

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return scores of shape (queries, items)."""
        return self.fit(relation)(queries)

    def fit(self, relation: Relation) -> ScoreRows:
        """Tune and fit a relation, unless it is the one that is fitted."""
        if self._fitted is None or self._fitted[0] != relation:
            self._fitted = None
            started = time.perf_counter()
            context, label = self._context, f"{self._name}: {relation}"
            task = FittingTask(
                context.for_fitting("train"), relation, label, device=self._device, progress=self._progress
            )
            kept = context.kept.get(self._name, {}).get(relation)
            best = None if kept is None else Chosen.of_report(kept, self._baseline)
            if kept is None or best is None:
                best, chosen = self._choose(task)
            else:
                chosen = {name: kept[name] for name in ("setting", "grid", "chosen_on", "checks")}
            final = replace(task, context=context.for_fitting("train", "valid"), memory={})
            if best is not None:
                final = replace(final, checks=best.checks, with_outside=best.with_outside)
            self._fitted = relation, self._baseline.fit(final, **(best.setting if best else {}))
            seconds = round(time.perf_counter() - started, 3)
            self.tuning[relation] = {**chosen, "fitted_on": ["train", "valid"], "seconds": seconds}
        return self._fitted[1]

    def _choose(self, task: FittingTask) -> tuple[Chosen | None, dict[str, Any]]:
        """The best point of the grid, None of none, and what to report of the choice."""
        validation = ValidationQueries(self._context, task.relation, cold=self._baseline.answers_cold)
        trials = try_grid(self._baseline, task, validation)
        best = choose(trials)
        report = {
            "setting": best.report()["setting"] if best else {},
            "grid": [trial.report() for trial in trials],
            "chosen_on": validation.kinds if trials else [],
            "checks": best and best.checks,
        }
        return None if best is None else Chosen(best.setting, best.with_outside, best.checks), report


def try_grid(baseline: Baseline, task: FittingTask, validation: ValidationQueries) -> list[Trial]:
    """Fit a baseline with each setting of its grid, one at a time in memory, and judge it on validation pairs.

    Where there are partners outside the catalogue they are evidence for every setting; the best one is tried without.
    """
    outside = task.context.outside
    if not (baseline.uses_outside and outside is not None and len(outside)):
        return [_try(baseline, task, setting, validation) for setting in baseline.grid]
    with_outside = replace(task, with_outside=True)
    trials = [_try(baseline, with_outside, setting, validation) for setting in baseline.grid]
    best = choose(trials)
    return trials if best is None else [*trials, _try(baseline, task, best.setting, validation)]


def _try(baseline: Baseline, task: FittingTask, setting: Setting, validation: ValidationQueries) -> Trial:
    started = time.perf_counter()
    label = f"{task.label}, {', '.join(f'{name} {value}' for name, value in setting.items())}"
    checks: list[float | None] = []

    def validate(rows: ScoreRows, name: str) -> float | None:
        checks.append(validation.ndcg(rows, name, task.progress))
        return checks[-1]

    rows = baseline.fit(replace(task, label=label, validate=validate), **setting)
    best = None
    if checks:
        # A network has judged itself while it trained; the vectors of its best check answer.
        best = len(checks) if None in checks else 1 + int(np.argmax(np.array(checks, np.float64)))
    ndcg = checks[best - 1] if best else validation.ndcg(rows, label, task.progress)
    return Trial(setting, task.with_outside, ndcg, best, time.perf_counter() - started)


def choose(trials: list[Trial]) -> Trial | None:
    """The best on validation; between equals, and without validation queries, the earlier one."""
    return max(trials, key=lambda trial: -1.0 if trial.ndcg is None else trial.ndcg, default=None)


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
        """The kinds of queries that there are: `warm`, `cold`, both or none."""
        return ["warm" if kind == "all" else "cold" for kind in self._protocol.slices]

    def ndcg(self, rows: ScoreRows, name: str, progress: Progress = SILENT) -> float | None:
        """NDCG@10, the mean over the kinds of queries; None where there is no query.

        Raises:
            InputError: the scores contain NaN.
        """
        if not self._protocol.slices:
            return None
        ranking = rank_catalogue(RowScorer(rows), self._protocol, name=f"{name} (validation)", progress=progress)
        return float(np.mean([ranking.of_slice(kind)[:, NDCG].mean() for kind in self._protocol.slices]))


@dataclass(frozen=True)
class RowScorer:
    """The scores of one relation, as a scorer."""

    rows: ScoreRows

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:  # noqa: ARG002  one relation
        """Scores of shape (queries, items)."""
        return self.rows(queries)


def _draw(part: Slice, seed: int, name: str) -> Slice:
    generator = numpy_generator(seed, f"evaluate/validation/{name}")
    count = min(QUERIES, len(part.queries))
    return replace(part, queries=np.sort(generator.choice(part.queries, count, replace=False)))
