"""A baseline of the registry, as everything that ranks sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.evaluate.baselines.baseline import Baseline, FittingTask, ScoreRows, on_cpu
from mmsc_cli.evaluate.baselines.tuning import tune
from mmsc_cli.evaluate.baselines.validation import ValidationQueries
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.relations import Relation

if TYPE_CHECKING:
    import torch


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
