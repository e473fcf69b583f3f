"""The ranker: a small network that orders a query's candidates by their evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import derive_seed, torch_generator

WIDTH = 128
DROPOUT = 0.2
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-4
BATCH = 32
OUTLIER = 5.0


@dataclass(frozen=True)
class Examples:
    """Queries with their candidates.

    `evidence` (queries, candidates, features); `right` (queries, candidates): how much a right one counts, 0 for a
    wrong one; `left_out` (queries, candidates) bool: candidates that take no part, being neither right nor wrong.
    """

    evidence: torch.Tensor
    right: torch.Tensor
    left_out: torch.Tensor

    def __len__(self) -> int:
        return len(self.right)

    def answerable(self) -> Examples:
        """The queries with something right among their candidates; nothing can be learned from the others."""
        rows = (self.right > 0).any(dim=1)
        return Examples(self.evidence[rows], self.right[rows], self.left_out[rows])

    def joined(self, others: Examples, times: int = 1) -> Examples:
        """These queries and `others` after them, so many times over."""
        parts = ([getattr(self, name)] + [getattr(others, name)] * times for name in ("evidence", "right", "left_out"))
        return Examples(*(torch.cat(part) for part in parts))


class Ranker(nn.Module):
    """Scores of candidates from their evidence."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.network = nn.Sequential(
            nn.Linear(features, WIDTH),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, WIDTH),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, 1),
        )

    def standardise(self, evidence: torch.Tensor) -> None:
        """Take mean and scale from (queries, candidates, features)."""
        self.mean, scale = evidence.mean(dim=(0, 1)), evidence.std(dim=(0, 1))
        self.scale = torch.where(scale > 1e-6, scale, 1.0)

    def forward(self, evidence: torch.Tensor) -> torch.Tensor:
        """(queries, candidates) from (queries, candidates, features)."""
        standard = ((evidence - self.mean) / self.scale).clamp(-OUTLIER, OUTLIER)
        scores: torch.Tensor = self.network(standard).squeeze(-1)
        return scores

    @torch.no_grad()
    def scores(self, evidence: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for numpy, nothing dropped."""
        self.eval()
        found: NDArray[np.float32] = self(torch.from_numpy(evidence)).numpy()
        return found


def fit_ranker(examples: Examples, epochs: int, seed: int, purpose: str, progress: Progress = SILENT) -> Ranker:
    """Fit by the listwise softmax: the likelihood of each query's right candidates among all of its candidates.

    Source: ListNet's top-one loss (Cao et al., ICML 2007). As in the first stage, a query counts by the square root of
    how much it has to find.
    """
    torch.manual_seed(derive_seed(seed, f"ranker/{purpose}"))
    generator = torch_generator(seed, f"ranker order/{purpose}")
    examples = examples.answerable()
    ranker = Ranker(examples.evidence.shape[2])
    ranker.standardise(examples.evidence)
    optimiser = torch.optim.AdamW(ranker.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * -(-len(examples) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=max(steps, 2), pct_start=0.1)
    ranker.train()
    with progress.task(f"Ranking: {purpose}", steps) as task:
        for _ in range(epochs):
            for batch in torch.split(torch.randperm(len(examples), generator=generator), BATCH):
                right = examples.right[batch]
                scores = ranker(examples.evidence[batch]).masked_fill(examples.left_out[batch], -1e4)
                share = right / right.sum(dim=1, keepdim=True).sqrt()
                loss = -(share * torch.log_softmax(scores, dim=1)).sum() / len(batch)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                task.advance()
    ranker.eval()
    return ranker
