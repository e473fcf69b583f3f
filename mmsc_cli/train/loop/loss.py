"""The losses: softmax over candidate items, and agreement of two views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch.nn import functional

# Agreement is among at most so many items at a time: its cost is the square of their number.
AGREEMENT_GROUP = 4_096


@dataclass(frozen=True)
class SoftmaxGradient:
    """A softmax loss, summed over queries, and its gradient: `query` (queries, dim) and `key` (candidates, dim)."""

    loss: float
    query: torch.Tensor
    key: torch.Tensor


def catalogue_softmax(
    query: torch.Tensor,
    key: torch.Tensor,
    self_column: NDArray[np.int64],
    targets: sparse.csr_array[Any],
    hidden: sparse.csr_array[Any],
    logits_per_chunk: int,
    log_inclusion: torch.Tensor | None = None,
) -> SoftmaxGradient:
    """Multinomial likelihood of each query item's targets among all candidates, and its gradient.

    The full softmax of Liang et al. (WWW 2018), one row per query item rather than per pair. Its gradient is known in
    closed form (share of the softmax less share of the targets), so no graph is kept, and it runs in chunks of query
    rows: memory is bounded by `logits_per_chunk`, not by items squared.

    Args:
        query: (queries, dim), of queries that have targets.
        key: (candidates, dim).
        self_column: (queries,) the candidate that is the query itself, neither target nor negative; -1 if none is.
        targets: (queries, candidates) weights of what is to be predicted.
        hidden: (queries, candidates) an entry where a pair is already known to the model: neither target nor negative.
        logits_per_chunk: how many scores are in memory at a time.
        log_inclusion: (candidates,) where they are a sample: log-probability of each to be in it, see
            `mmsc_cli.train.loop.sampled_softmax`. A query's targets are always in the sample.
    """
    gradient = SoftmaxGradient(0.0, torch.empty_like(query), torch.zeros_like(key))
    chunk = max(1, logits_per_chunk // len(key))
    total = 0.0
    for start in range(0, len(query), chunk):
        rows = slice(start, start + chunk)
        part_query = query[rows]
        logits = (part_query @ key.T).float()
        row, column = _coordinates(targets[rows], key.device)
        if log_inclusion is not None:
            logits -= log_inclusion
            logits[row, column] += log_inclusion[column]
        logits[_coordinates(hidden[rows], key.device)] = -torch.inf
        itself = np.flatnonzero(self_column[rows] >= 0)
        logits[itself, self_column[rows][itself]] = -torch.inf
        log_share = torch.log_softmax(logits, dim=1, out=logits)
        weight = torch.from_numpy(targets[rows].data.astype(np.float32)).to(key.device)
        # Square root: an item with many partners counts more than one with few, but not in proportion.
        root = torch.zeros(len(part_query), device=key.device).index_add_(0, row, weight).sqrt()
        total -= float((weight / root[row] * log_share[row, column]).sum())
        # Share of the softmax less share of the targets; times the root it is the gradient to the scores.
        difference = log_share.exp_()
        difference[row, column] -= weight / root[row].square()
        gradient.query[rows] = (difference @ key) * root[:, None]
        gradient.key.addmm_(difference.T, part_query * root[:, None])
    return SoftmaxGradient(total, gradient.query, gradient.key)


def agreement(first: torch.Tensor, second: torch.Tensor, temperature: float = 0.2) -> torch.Tensor:
    """InfoNCE between the same items' vectors in two views, both (rows, dim) (van den Oord et al., 2018).

    Others are told apart within groups of at most AGREEMENT_GROUP rows.
    """
    first, second = functional.normalize(first, dim=1), functional.normalize(second, dim=1)
    total = first.new_zeros(())
    groups = (torch.split(vectors, AGREEMENT_GROUP) for vectors in (first, second))
    for first_group, second_group in zip(*groups, strict=True):
        logits = first_group @ second_group.T / temperature
        labels = torch.arange(len(logits), device=logits.device)
        both_ways = functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)
        total = total + both_ways / 2 * len(logits) / len(first)
    return total


def _coordinates(matrix: sparse.csr_array[Any], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return torch.from_numpy(row).to(device), torch.from_numpy(matrix.indices.astype(np.int64)).to(device)
