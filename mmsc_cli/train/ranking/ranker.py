"""The ranker: a small network that orders a query's candidates by their evidence, in two ways.

Its first head ranks all pairs of the relation, its second those seen in this relation alone. How much the second counts
is a choice between what shoppers did and what tells the relations apart (`train.distinct`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import derive_seed, torch_generator

HEADS = ("all", "distinct")
WIDTH = 128
DROPOUT = 0.2
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-4
BATCH = 64
# A small catalogue has few examples; they are gone through more often, until there were as many steps.
FEWEST_STEPS = 250
MOST_EPOCHS = 12
OUTLIER = 5.0


@dataclass(frozen=True)
class Examples:
    """Queries with a sample of their candidates.

    `evidence` (queries, sample, features) float16; `right` (HEADS, queries, sample): how much a right candidate counts,
    0 for a wrong one; `correction` (HEADS, queries, sample): what is added to a score. That is the logarithm of one
    over the rate at which the candidate was sampled, so that the sample stands for all candidates, and -10,000 for
    candidates that take no part, because they are neither right nor wrong.
    """

    evidence: torch.Tensor
    right: torch.Tensor
    correction: torch.Tensor

    def __len__(self) -> int:
        return len(self.evidence)

    @classmethod
    def joined(cls, several: list[Examples]) -> Examples:
        """All of them, one after another."""
        return cls(
            torch.cat([examples.evidence for examples in several]),
            torch.cat([examples.right for examples in several], dim=1),
            torch.cat([examples.correction for examples in several], dim=1),
        )


class _QueryDropout(nn.Module):
    """Dropout with one draw for all candidates of a query: quicker than one for each, and they are compared fairly."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(queries, candidates, width) to the same shape."""
        if not self.training:
            return values
        kept = torch.rand(len(values), 1, values.shape[2], device=values.device) >= DROPOUT
        return values * (kept / (1 - DROPOUT))


class Ranker(nn.Module):
    """Scores of candidates from their evidence."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.network = nn.Sequential(
            nn.Linear(features, WIDTH),
            nn.GELU(),
            _QueryDropout(),
            nn.Linear(WIDTH, WIDTH),
            nn.GELU(),
            _QueryDropout(),
            nn.Linear(WIDTH, len(HEADS)),
        )

    def standardise(self, evidence: torch.Tensor) -> None:
        """Take mean and scale from (queries, candidates, features)."""
        self.mean, scale = evidence.mean(dim=(0, 1)), evidence.std(dim=(0, 1))
        self.scale = torch.where(scale > 1e-6, scale, 1.0)

    def forward(self, evidence: torch.Tensor) -> torch.Tensor:
        """(queries, candidates, HEADS) from (queries, candidates, features)."""
        standard = ((evidence - self.mean) / self.scale).clamp(-OUTLIER, OUTLIER)
        scores: torch.Tensor = self.network(standard)
        return scores

    @torch.no_grad()
    def scores(self, evidence: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for numpy, nothing dropped."""
        self.eval()
        scores: NDArray[np.float32] = self(torch.from_numpy(evidence)).numpy()
        return scores


def fit_ranker(examples: Examples, epochs: int, seed: int, purpose: str, progress: Progress = SILENT) -> Ranker:
    """Fit by the listwise softmax: the likelihood of each query's right candidates among all of its candidates.

    Source: ListNet's top-one loss (Cao et al., ICML 2007). A query counts by the square root of how much it has to
    find.
    """
    torch.manual_seed(derive_seed(seed, f"ranker/{purpose}"))
    generator = torch_generator(seed, f"ranker order/{purpose}")
    ranker = Ranker(examples.evidence.shape[2])
    ranker.standardise(examples.evidence[:: max(1, len(examples) // 4_000)].float())
    optimiser = torch.optim.AdamW(ranker.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    steps_an_epoch = -(-len(examples) // BATCH)
    epochs = max(epochs, min(MOST_EPOCHS, FEWEST_STEPS // steps_an_epoch))
    steps = epochs * steps_an_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=max(steps, 2), pct_start=0.1)
    ranker.train()
    with progress.task(f"Ranker: {purpose}", steps) as task:
        for _ in range(epochs):
            for batch in torch.split(torch.randperm(len(examples), generator=generator), BATCH):
                scores = ranker(examples.evidence[batch].float())
                loss = sum(
                    (
                        _listwise(scores[..., head] + examples.correction[head, batch], examples.right[head, batch])
                        for head in range(len(HEADS))
                    ),
                    start=torch.zeros(()),
                )
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                task.advance()
    ranker.eval()
    return ranker


def _listwise(scores: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    share = right / right.sum(dim=1, keepdim=True).clamp_min(1e-6).sqrt()
    return -(share * torch.log_softmax(scores, dim=1)).sum() / len(scores)
