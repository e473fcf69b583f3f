"""The ranker: a small network that orders a query's candidates by their evidence, in two ways.

Its first head ranks all pairs of the relation, its second those seen in this relation alone. How much the second counts
is a choice between what shoppers did and what tells the relations apart (`train.distinct`).
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def take(self, rows: torch.Tensor) -> Examples:
        """The queries in these places, (rows,)."""
        return Examples(self.evidence[rows], self.right[:, rows], self.correction[:, rows])


class _Joined:
    """Examples from several looks, one after another. They are large, so they are not copied into one place."""

    def __init__(self, parts: Sequence[Examples]) -> None:
        self._parts = parts
        self._starts = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, rows: torch.Tensor) -> Examples:
        """The queries in these places, (rows,)."""
        of_part = torch.bucketize(rows, self._starts, right=True) - 1
        places = [torch.nonzero(of_part == number).squeeze(1) for number in range(len(self._parts))]
        found = [
            part.take(rows[place] - start)
            for part, place, start in zip(self._parts, places, self._starts, strict=False)
        ]
        order = torch.cat(places).argsort()
        return Examples(
            torch.cat([examples.evidence for examples in found])[order],
            torch.cat([examples.right for examples in found], dim=1)[:, order],
            torch.cat([examples.correction for examples in found], dim=1)[:, order],
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


def fit_ranker(
    collected: Sequence[Examples], epochs: int, seed: int, purpose: str, progress: Progress = SILENT
) -> Ranker:
    """Fit by the listwise softmax: the likelihood of each query's right candidates among all of its candidates.

    Source: ListNet's top-one loss (Cao et al., ICML 2007). A query counts by the square root of how much it has to
    find.
    """
    torch.manual_seed(derive_seed(seed, f"ranker/{purpose}"))
    generator = torch_generator(seed, f"ranker order/{purpose}")
    examples = _Joined(collected)
    ranker = Ranker(collected[0].evidence.shape[2])
    seen = examples.take(torch.arange(0, len(examples), max(1, len(examples) // 4_000)))
    ranker.standardise(seen.evidence.float())
    optimiser = torch.optim.AdamW(ranker.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    steps_an_epoch = -(-len(examples) // BATCH)
    epochs = max(epochs, min(MOST_EPOCHS, FEWEST_STEPS // steps_an_epoch))
    steps = epochs * steps_an_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=max(steps, 2), pct_start=0.1)
    ranker.train()
    with progress.task(f"Ranker: {purpose}", steps) as task:
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(examples), generator=generator), BATCH):
                batch = examples.take(rows)
                scores = ranker(batch.evidence.float())
                loss = sum(
                    (
                        _listwise(scores[..., head] + batch.correction[head], batch.right[head])
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
