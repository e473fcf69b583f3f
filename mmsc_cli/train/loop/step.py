"""One step: two views of the catalogue, the softmax of a batch of query items in each, agreement of the two.

How much the training loop holds in memory at a time, and less of it where memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.checkpoint import checkpoint

from mmsc_cli.model.behaviour import WantedRows
from mmsc_cli.model.mmsc import Mmsc
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.loop.data import Candidates, Problem, View
from mmsc_cli.train.loop.loss import SoftmaxGradient, agreement, catalogue_softmax
from mmsc_cli.train.loop.sampled_softmax import Sample, sampled_softmax
from mmsc_cli.train.settings import TrainSettings

_LOG = logging.getLogger(__name__)
FLOOR = 1 << 18


@dataclass
class ChunkSize:
    """Scores in memory at a time."""

    logits: int = 1 << 25

    def halve(self, error: BaseException) -> None:
        """Go on in smaller chunks.

        Raises:
            MemoryError: they are as small as is sensible.
        """
        if self.logits <= FLOOR:
            raise MemoryError(str(error)) from error
        self.logits //= 2
        _LOG.warning("out of memory: the step is done again in chunks half as large (%d scores)", self.logits)


# Above so many items the semantic level keeps nothing for its gradient, and is computed again instead.
SEMANTIC_KEPT = 200_000
# bfloat16 needs no scaling of the loss, and is quick on any GPU that one would train on; on a CPU it mostly is not.
MIXED_PRECISION = ("cuda",)


@dataclass(frozen=True)
class Step:
    """Leaves the gradient of a batch's loss in the model's parameters."""

    model: Mmsc
    problem: Problem
    settings: TrainSettings
    use_agreement: bool
    chunks: ChunkSize

    def __call__(self, views: Sequence[View], batch: torch.Tensor, generator: torch.Generator) -> float:
        """The mean loss of the two views.

        Args:
            views: from `mmsc_cli.train.loop.data.masked_views`.
            batch: (queries,) rows of query items, in random order.
            generator: the random stream, on the CPU.
        """
        device = batch.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type in MIXED_PRECISION):
            loss, outputs, gradients = self._forward(views, batch, generator)
        torch.autograd.backward(outputs, gradients)
        return loss

    def _forward(
        self, views: Sequence[View], batch: torch.Tensor, generator: torch.Generator
    ) -> tuple[float, list[torch.Tensor], list[torch.Tensor]]:
        numbers = batch.cpu().numpy()
        uniform = self._draw_uniform(generator)
        wanted, present = self._wanted(views, numbers, uniform)
        here = torch.from_numpy(present.places(numbers)).to(batch.device)
        semantic = _semantic(self.model, self.problem)
        total = 0.0
        outputs: list[torch.Tensor] = []
        gradients: list[torch.Tensor] = []
        seen_alike = []
        for view in views:
            kept = torch.rand(len(self.problem.items), 1, generator=generator) >= self.settings.item_dropout
            around = replace(view.around, has_item_vector=view.around.has_item_vector * kept.to(batch.device))
            vectors = self.model(self.problem.items, around, semantic, wanted, here)
            for relation in RELATIONS:
                query, key = vectors[relation]
                asking = np.diff(view.targets[relation].indptr)[numbers] > 0
                asked = torch.from_numpy(np.flatnonzero(asking)).to(batch.device)
                loss = self._softmax(
                    view, relation, query.detach()[asked], key.detach(), present, numbers[asking], uniform
                )
                share = 1 / (2 * max(1, len(asked)))
                total += loss.loss * share
                outputs += query, key
                gradients.append(torch.zeros_like(query).index_copy_(0, asked, (loss.query * share).to(query.dtype)))
                gradients.append((loss.key * share).to(key.dtype))
            seen_alike.append(torch.cat([vectors[relation][0] for relation in RELATIONS], dim=1))
        if self.use_agreement and self.settings.agreement:
            alike = agreement(seen_alike[0], seen_alike[1]) * self.settings.agreement
            outputs.append(alike)
            gradients.append(torch.ones_like(alike))
        return total, outputs, gradients

    def _softmax(
        self,
        view: View,
        relation: Relation,
        query: torch.Tensor,
        key: torch.Tensor,
        present: Candidates,
        asked: NDArray[np.int64],
        uniform: NDArray[np.int64] | None,
    ) -> SoftmaxGradient:
        """The loss of the queries `asked`, whose vectors are `query`, among the items `present`, whose are `key`."""
        targets, hidden = view.targets[relation], view.hidden[relation]
        candidates = self.problem.candidates
        if uniform is not None:
            return sampled_softmax(
                query.float(),
                key.float(),
                Sample(present, uniform, len(candidates)),
                asked,
                targets,
                hidden,
                self.chunks.logits,
            )
        rows = torch.from_numpy(candidates.rows).to(key.device)
        softmax = catalogue_softmax(
            query.float(),
            key.float()[rows],
            candidates.places(asked),
            candidates.columns(targets[asked]),
            candidates.columns(hidden[asked]),
            self.chunks.logits,
        )
        of_all = torch.zeros_like(key, dtype=torch.float32).index_copy_(0, rows, softmax.key)
        return SoftmaxGradient(softmax.loss, softmax.query, of_all)

    def _draw_uniform(self, generator: torch.Generator) -> NDArray[np.int64] | None:
        """Rows of uniform negatives, ascending; None where the softmax is over the whole catalogue."""
        rows = self.problem.candidates.rows
        if len(self.problem.items) < self.settings.full_softmax_items:
            return None
        drawn = torch.randperm(len(rows), generator=generator)[: self.settings.sampled_negatives]
        return np.sort(rows[drawn.numpy()])

    def _wanted(
        self, views: Sequence[View], numbers: NDArray[np.int64], uniform: NDArray[np.int64] | None
    ) -> tuple[WantedRows | None, Candidates]:
        """The items whose vectors the step needs: the queries, their targets, and the uniform negatives."""
        if uniform is None:
            return None, Candidates(np.arange(len(self.problem.items)))
        needed = np.zeros(len(self.problem.items), np.bool_)
        needed[numbers] = needed[uniform] = True
        for view in views:
            for targets in view.targets.values():
                needed[targets[numbers].indices] = True
        present = Candidates(np.flatnonzero(needed))
        device = self.problem.weight.device
        sample = torch.from_numpy(present.places(uniform)).to(device)
        return WantedRows(torch.from_numpy(present.rows).to(device), sample), present


def _semantic(model: Mmsc, problem: Problem) -> torch.Tensor:
    """Semantic vectors of all items, with what it takes for their gradient, or the means to compute it again."""
    if len(problem.items) <= SEMANTIC_KEPT:
        whole: torch.Tensor = model.semantic(problem.items)
        return whole
    return torch.cat([checkpoint(model.semantic, part, use_reentrant=False) for part in problem.parts])
