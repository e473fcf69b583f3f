"""Choosing a baseline's setting: every point of its grid is fitted, and the best on validation is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from mmsc_cli.evaluate.baselines.baseline import Baseline, FittingTask, ScoreRows, Setting


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
