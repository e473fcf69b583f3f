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

    The best so far stays in memory beside the one being fitted, which is cheaper than fitting it again.
    """
    started = time.perf_counter()
    if not baseline.grid:
        return Tuned(baseline.fit(task), {}, (), time.perf_counter() - started)
    trials: list[Trial] = []
    best: tuple[float, Setting, ScoreRows] | None = None
    for number, setting in enumerate(baseline.grid, start=1):
        trial_started = time.perf_counter()
        point = replace(task, label=f"{task.label}, setting {number} of {len(baseline.grid)}")
        rows = baseline.fit(point, **setting)
        ndcg = task.validation.ndcg(rows, point.label, task.progress)
        trials.append(Trial(setting, ndcg, time.perf_counter() - trial_started))
        if best is None or (ndcg is not None and ndcg > best[0]):
            best = (0.0 if ndcg is None else ndcg), setting, rows
    _, chosen, rows = best or (0.0, {}, rows)
    return Tuned(rows, chosen, tuple(trials), time.perf_counter() - started)
