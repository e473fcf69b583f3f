"""The training loop of the graph baselines: predict partners among sampled items, stop by validation.

The loss is the sampled softmax with uniform negatives, shared within a step (Jean et al., ACL 2015; Wu et al., TOIS
2024, on why it beats BPR for ranking). Every step propagates over the whole graph, so no neighbour sampler is needed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows, dot_products
from mmsc_cli.evaluate.baselines.graph.training_graph import TrainingGraph, VisiblePairs
from mmsc_cli.runtime.seeds import torch_generator

BATCH_PAIRS = 8_192
NEGATIVES = 512
STEPS_PER_VIEW = 10
VIEWS_PER_CHECK = 3
PATIENCE = 2
MOST_CHECKS = 30
# A row of an item table gets a gradient in few steps, so it learns faster than weights that all items share.
TABLE_RATE = 0.01
SHARED_RATE = 0.005


def train(task: FittingTask, network: nn.Module, *, hide: float, isolate: float = 0.0) -> ScoreRows:
    """Train until the validation figure has not improved for PATIENCE checks; the best check's vectors answer.

    A task without validation is trained for its number of checks, and the last one answers.

    Args:
        task: what to train on.
        network: called with `VisiblePairs`; returns query and key vectors of all nodes, both (nodes, dim).
        hide: fraction of the training pairs hidden in each view, to be predicted from the rest. At 0 all pairs are both
            propagated over and predicted, as the papers have it.
        isolate: fraction of the items played as having no behaviour in each view.

    Returns:
        Scores by dot product; those of the untrained network where the relation has no training pair.
    """
    device = task.device()
    pairs = TrainingGraph(task, device)
    network = network.to(device)
    generator = torch_generator(task.context.seed, f"baseline/{type(network).__name__}/{task.relation}")
    optimiser = torch.optim.Adam(_parameter_groups(network))
    whole, candidates = pairs.whole(), pairs.candidates
    best = _answer(network, whole, pairs.n_items)
    best_ndcg, since_best = -1.0, 0
    if not bool((pairs.own > 0).any()):
        return dot_products(*best)
    checks = MOST_CHECKS if task.checks is None else task.checks
    with task.progress.task(task.label, total=checks * VIEWS_PER_CHECK * STEPS_PER_VIEW) as shown:
        for _ in range(checks):
            network.train()
            total = 0.0
            for _ in range(VIEWS_PER_CHECK):
                visible, targets = pairs.masked(hide, isolate, generator)
                for _ in range(STEPS_PER_VIEW):
                    query, answer = _draw_batch(targets, generator)
                    wrong = candidates[torch.randint(len(candidates), (NEGATIVES,), generator=generator).to(device)]
                    queries, keys = network(visible)
                    loss = _sampled_softmax(queries, keys, query, answer, wrong)
                    optimiser.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                    total += float(loss.detach())
                    shown.advance()
            if not math.isfinite(total):
                # It diverged: the best vectors so far answer.
                break
            latest = _answer(network, whole, pairs.n_items)
            ndcg = None if task.validate is None else task.validate(dot_products(*latest), task.label)
            shown.show(loss=total / (VIEWS_PER_CHECK * STEPS_PER_VIEW), **({} if ndcg is None else {"valid": ndcg}))
            # Without validation queries there is no sign when to stop: train to the end and take that.
            since_best = 0 if ndcg is None or ndcg > best_ndcg else since_best + 1
            if since_best == 0:
                best, best_ndcg = latest, best_ndcg if ndcg is None else ndcg
            if since_best >= PATIENCE:
                break
    return dot_products(*best)


def _draw_batch(targets: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """At most BATCH_PAIRS of the (2, pairs) pairs, each in a random direction: queries and their answers."""
    count = targets.shape[1]
    drawn = torch.randint(count, (min(BATCH_PAIRS, count),), generator=generator)
    turned = torch.rand(len(drawn), generator=generator) < 0.5
    a, b = targets[:, drawn.to(targets.device)]
    turned = turned.to(targets.device)
    return torch.where(turned, b, a), torch.where(turned, a, b)


def _sampled_softmax(
    queries: torch.Tensor, keys: torch.Tensor, query: torch.Tensor, answer: torch.Tensor, wrong: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of each right answer among the shared wrong ones; a wrong one that is the query or right is out."""
    asked = queries[query]
    right = (asked * keys[answer]).sum(dim=1, keepdim=True)
    among = asked @ keys[wrong].T
    among = among.masked_fill((wrong == query[:, None]) | (wrong == answer[:, None]), -torch.inf)
    logits = torch.cat([right, among], dim=1)
    return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


@torch.no_grad()
def _answer(network: nn.Module, whole: VisiblePairs, n_items: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    network.eval()
    query, key = network(whole)
    # Copies: a network may return its own weights, which the next step changes.
    return query.cpu().numpy()[:n_items].copy(), key.cpu().numpy()[:n_items].copy()


def _parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    tables = [module.weight for module in network.modules() if isinstance(module, nn.Embedding)]
    known = {id(table) for table in tables}
    shared = [parameter for parameter in network.parameters() if id(parameter) not in known]
    return [{"params": tables, "lr": TABLE_RATE}, {"params": shared, "lr": SHARED_RATE}]
