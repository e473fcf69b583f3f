"""The training loop: epochs of masked views, validation, early stopping."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from mmsc_cli.errors import MmscError
from mmsc_cli.model.behaviour import Lendable, Surroundings
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.model.graph import Graph
from mmsc_cli.model.mmsc import Mmsc, Vectors
from mmsc_cli.progress import SILENT, Progress
from mmsc_cli.recipe.settings import TrainSettings
from mmsc_cli.relations import RELATIONS
from mmsc_cli.seeds import torch_generator
from mmsc_cli.train.candidates import Candidates
from mmsc_cli.train.loss import agreement, catalogue_softmax
from mmsc_cli.train.pairs import TrainingPairs
from mmsc_cli.train.views import View, masked_views, surroundings

_LOG = logging.getLogger("mmsc_cli")

# Learning rates relative to that of the item vectors; found on validation (docs/experiments.md, 2026-11-23).
HEAD_RATE = 1 / 20
ADAPTER_RATE = 1 / 50
# A step propagates over the whole catalogue, so a larger one gets larger steps, not more.
STEPS_PER_EPOCH = 40
SMALLEST_BATCH = 256
LOGITS_PER_CHUNK = 1 << 25


@dataclass(frozen=True)
class Problem:
    """All that the loop needs, on one device; weights are (pairs, 2), by relation."""

    items: ItemFeatures
    pairs: TrainingPairs
    weight: torch.Tensor
    target_weight: torch.Tensor
    similar: Graph

    def to(self, device: torch.device) -> Problem:
        """The same on another device."""
        return Problem(
            self.items.to(device),
            self.pairs.to(device),
            self.weight.to(device),
            self.target_weight.to(device),
            self.similar.to(device),
        )

    @cached_property
    def has_behaviour(self) -> torch.Tensor:
        """(items,) bool: items with any training pair."""
        return self.pairs.touched(len(self.items))

    @cached_property
    def candidates(self) -> Candidates:
        """What can be a target, and so a negative: items without any training pair are neither."""
        return Candidates.of(torch.nonzero(self.has_behaviour).squeeze(1), len(self.items))

    def everything_seen(self) -> Surroundings:
        """The surroundings for answering: all training pairs visible."""
        visible = torch.ones(len(self.pairs), dtype=torch.bool, device=self.weight.device)
        shown = self.has_behaviour.float().unsqueeze(1)
        return surroundings(self.pairs, self.weight, visible, shown, self.similar)


@dataclass(frozen=True)
class Fitted:
    """The best epoch's vectors, what its items lend to new ones, and the figures of every epoch."""

    vectors: Vectors
    lendable: Lendable
    history: list[dict[str, float]]


def fit(
    model: Mmsc,
    problem: Problem,
    settings: TrainSettings,
    validate: Callable[[Vectors], dict[str, float]],
    seed: int,
    use_agreement: bool = True,
    progress: Progress = SILENT,
) -> Fitted:
    """Train until validation stops improving; the model is left at its best epoch.

    Args:
        model: on the problem's device; changed in place.
        problem: the data.
        settings: epochs, patience, learning rate and the rest.
        validate: figures of a set of vectors; `ndcg@10` among them decides.
        seed: of all random choices.
        use_agreement: whether the two views must agree.
        progress: told of steps and figures.

    Raises:
        MmscError: the loss is not a number.
    """
    generator = torch_generator(seed, "train")
    optimiser = torch.optim.Adam(_parameter_groups(model, settings.learning_rate), fused=True)
    seen = problem.everything_seen()
    rows = torch.nonzero(problem.has_behaviour).squeeze(1)
    batch_queries = settings.batch_queries or max(SMALLEST_BATCH, math.ceil(len(rows) / STEPS_PER_EPOCH))
    steps = math.ceil(len(rows) / batch_queries)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        [group["lr"] for group in optimiser.param_groups],
        total_steps=steps * settings.epochs,
        pct_start=0.1,
    )
    best, best_state, since_best = -1.0, model.state_dict(), 0
    history: list[dict[str, float]] = []
    with progress.task("Training", settings.epochs * steps) as task:
        for epoch in range(settings.epochs):
            started = time.monotonic()
            model.train()
            views = masked_views(
                problem.pairs,
                problem.weight,
                problem.target_weight,
                problem.has_behaviour,
                problem.similar,
                settings.play_cold,
                generator,
            )
            order = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
            total = 0.0
            for batch in torch.split(order, batch_queries):
                optimiser.zero_grad()
                total += _step(model, problem, views, batch, settings, use_agreement, generator)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimiser.step()
                schedule.step()
                task.advance()
            if not math.isfinite(total):
                raise MmscError(
                    f"the training loss is not a number in epoch {epoch + 1}",
                    hint="lower it: --set train.learning_rate=0.003",
                )
            vectors, _ = answer(model, problem, seen)
            figures = {"epoch": epoch + 1, "loss": total / steps, **validate(vectors)}
            figures["seconds"] = time.monotonic() - started
            history.append(figures)
            _LOG.debug("epoch %d: loss %.4f, validation NDCG@10 %.4f", epoch + 1, figures["loss"], figures["ndcg@10"])
            task.show(loss=figures["loss"], valid=figures["ndcg@10"])
            if figures["ndcg@10"] > best:
                best, since_best = figures["ndcg@10"], 0
                best_state = {name: value.detach().clone() for name, value in model.state_dict().items()}
            else:
                since_best += 1
                if since_best >= settings.patience:
                    break
    model.load_state_dict(best_state)
    return Fitted(*answer(model, problem, seen), history)


@torch.no_grad()
def answer(model: Mmsc, problem: Problem, around: Surroundings) -> tuple[Vectors, Lendable]:
    """Query and key vectors with the given surroundings, nothing dropped; and what the items lend to new ones."""
    model.eval()
    found: tuple[Vectors, Lendable] = model(problem.items, around)
    return found


def _step(
    model: Mmsc,
    problem: Problem,
    views: tuple[View, View],
    batch: torch.Tensor,
    settings: TrainSettings,
    use_agreement: bool,
    generator: torch.Generator,
) -> float:
    candidates = problem.candidates
    semantic = model.semantic(problem.items)
    numbers = batch.cpu().numpy()
    total = 0.0
    outputs: list[torch.Tensor] = []
    gradients: list[torch.Tensor] = []
    seen_alike = []
    for view in views:
        around = view.around
        kept = (torch.rand(len(problem.items), 1, generator=generator) >= settings.item_dropout).to(batch.device)
        shown = around.has_item_vector * kept
        vectors, _ = model(problem.items, replace(around, has_item_vector=shown), semantic)
        for relation in RELATIONS:
            query, key = vectors[relation]
            asking = np.diff(view.targets[relation].indptr)[numbers] > 0
            asked = batch[torch.from_numpy(asking).to(batch.device)]
            found = catalogue_softmax(
                query.detach()[asked],
                key.detach()[candidates.rows],
                candidates.place[asked].cpu().numpy(),
                candidates.columns(view.targets[relation][numbers[asking]]),
                candidates.columns(view.hidden[relation][numbers[asking]]),
                LOGITS_PER_CHUNK,
            )
            total += found.loss / 2
            outputs += query, key
            gradients.append(torch.zeros_like(query).index_copy_(0, asked, found.query / 2))
            gradients.append(torch.zeros_like(key).index_copy_(0, candidates.rows, found.key / 2))
        seen_alike.append(torch.cat([vectors[relation][0][batch] for relation in RELATIONS], dim=1))
    if use_agreement and settings.agreement:
        alike = agreement(seen_alike[0], seen_alike[1]) * settings.agreement
        outputs.append(alike)
        gradients.append(torch.ones_like(alike))
    torch.autograd.backward(outputs, gradients)
    return total


def _parameter_groups(model: Mmsc, learning_rate: float) -> list[dict[str, Any]]:
    """Tables of vectors learn fast, as a row sees a gradient now and then; what all items share would overfit."""
    tables: list[nn.Parameter] = []
    heads: list[nn.Parameter] = []
    adapters: list[nn.Parameter] = []
    for module_name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            is_table = isinstance(module, nn.Embedding | nn.EmbeddingBag)
            group = tables if is_table else adapters if module_name.startswith("semantic") else heads
            group.append(parameter)
    return [
        {"params": tables, "lr": learning_rate},
        {"params": heads, "lr": learning_rate * HEAD_RATE},
        {"params": adapters, "lr": learning_rate * ADAPTER_RATE},
    ]
