"""The losses: softmax over the whole catalogue, and agreement of two views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch.nn import functional


@dataclass(frozen=True)
class SoftmaxGradient:
    """A softmax loss and its gradient: the mean `loss` over the queries, `query` (queries, dim), `key` (keys, dim)."""

    loss: float
    query: torch.Tensor
    key: torch.Tensor


def catalogue_softmax(
    query: torch.Tensor,
    key: torch.Tensor,
    own: NDArray[np.int64],
    targets: sparse.csr_array[Any],
    hidden: sparse.csr_array[Any],
    logits_per_chunk: int,
) -> SoftmaxGradient:
    """Multinomial likelihood of each query item's targets among all candidates, and its gradient.

    The full softmax of Liang et al. (WWW 2018), one row per query item rather than per pair. Its gradient is known in
    closed form (share of the softmax less share of the targets), so no graph is kept, and it runs in chunks of query
    rows: memory is bounded by `logits_per_chunk`, not by items squared.

    Args:
        query: (queries, dim), of queries that have targets.
        key: (candidates, dim).
        own: (queries,) the candidate that is the query item itself: neither target nor negative.
        targets: (queries, candidates) weights of what is to be predicted.
        hidden: (queries, candidates) an entry where a pair is already known to the model: neither target nor negative.
        logits_per_chunk: how many scores are in memory at a time.
    """
    found = SoftmaxGradient(0.0, torch.empty_like(query), torch.zeros_like(key))
    chunk = max(1, logits_per_chunk // len(key))
    total = 0.0
    for start in range(0, len(query), chunk):
        rows = slice(start, start + chunk)
        part = query[rows]
        logits = (part @ key.T).float()
        known = hidden[rows]
        logits[_entry_rows(known, key.device), _columns(known, key.device)] = -torch.inf
        logits[torch.arange(len(part), device=key.device), torch.from_numpy(own[rows]).to(key.device)] = -torch.inf
        log_share = torch.log_softmax(logits, dim=1, out=logits)
        total += _to_gradient(log_share, targets[rows]) / len(query)
        log_share /= len(query)
        found.query[rows] = log_share @ key
        found.key.addmm_(log_share.T, part)
    return SoftmaxGradient(total, found.query, found.key)


def _to_gradient(log_share: torch.Tensor, targets: sparse.csr_array[Any]) -> float:
    """Overwrite log-shares (queries, candidates) with the gradient to the scores; the loss, summed, is returned."""
    row, column = _entry_rows(targets, log_share.device), _columns(targets, log_share.device)
    weight = torch.from_numpy(targets.data.astype(np.float32)).to(log_share.device)
    # Square root: an item with many partners counts more than one with few, but not in proportion.
    root = torch.zeros(len(log_share), device=weight.device).index_add_(0, row, weight).sqrt()
    weight /= root[row]
    loss = -float((weight * log_share[row, column]).sum())
    log_share.exp_().mul_(root[:, None])
    log_share[row, column] -= weight
    return loss


def agreement(first: torch.Tensor, second: torch.Tensor, temperature: float = 0.2) -> torch.Tensor:
    """InfoNCE between the same items' vectors in two views, both (rows, dim) (van den Oord et al., 2018)."""
    logits = functional.normalize(first, dim=1) @ functional.normalize(second, dim=1).T / temperature
    labels = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


def _entry_rows(matrix: sparse.csr_array[Any], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))).to(device)


def _columns(matrix: sparse.csr_array[Any], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(matrix.indices.astype(np.int64)).to(device)
