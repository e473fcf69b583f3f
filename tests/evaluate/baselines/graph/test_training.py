from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmsc_cli.evaluate.baselines.baseline import FittingTask
from mmsc_cli.evaluate.baselines.graph import training
from mmsc_cli.evaluate.baselines.graph.training_graph import VisiblePairs
from mmsc_cli.evaluate.context import EvaluationContext


class _Table(nn.Module):
    """Item vectors and nothing else."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.item = nn.Embedding(items, 8)

    def forward(self, visible: VisiblePairs) -> tuple[torch.Tensor, torch.Tensor]:
        return self.item.weight, self.item.weight


class _Judge:
    """Validation that says what it is told to."""

    def __init__(self, figures: list[float]) -> None:
        self.figures = figures
        self.asked: list[np.ndarray[Any, Any]] = []

    def __call__(self, rows: Any, name: str) -> float:
        self.asked.append(rows(np.arange(5)))
        return self.figures[len(self.asked) - 1]


def _train(planted: EvaluationContext, judge: _Judge) -> np.ndarray[Any, Any]:
    torch.manual_seed(1)
    task = FittingTask(planted.for_fitting("train"), "substitute", "table", judge)
    return training.train(task, _Table(planted.n_items), hide=0.0)(np.arange(5))


def test_training_stops_when_validation_does_and_keeps_the_best(
    planted: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "MOST_CHECKS", 10)
    judge = _Judge([0.1, 0.3, 0.2, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    answered = _train(planted, judge)
    assert len(judge.asked) == 2 + training.PATIENCE
    np.testing.assert_array_equal(answered, judge.asked[1])


def test_what_diverges_is_answered_as_it_was_before(
    planted: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "TABLE_RATE", float("nan"))
    assert np.isfinite(_train(planted, _Judge([]))).all()


def test_the_loss_is_the_cross_entropy_among_what_is_drawn() -> None:
    generator = torch.Generator().manual_seed(1)
    queries, keys = torch.randn(6, 3, generator=generator), torch.randn(6, 3, generator=generator)
    query, answer, wrong = torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([0, 2, 4])
    expected = []
    for asked, right, others in ((0, 2, [4]), (1, 3, [0, 2, 4])):
        logits = (keys[[right, *others]] @ queries[asked]).double()
        expected.append(float(torch.logsumexp(logits, dim=0) - logits[0]))
    loss = training._sampled_softmax(queries, keys, query, answer, wrong)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)
