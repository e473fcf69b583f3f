"""The losses: softmax over the whole catalogue, and agreement of two views."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional

LOGITS_PER_CHUNK = 1 << 25


def catalogue_softmax(
    query: torch.Tensor,
    key: torch.Tensor,
    rows: torch.Tensor,
    targets: sparse.csr_array[Any],
    hidden: sparse.csr_array[Any],
    candidate: torch.Tensor,
    backward_scale: float,
) -> float:
    """Multinomial likelihood of each query item's targets among the whole catalogue; gradients are left in the inputs.

    The full softmax of Liang et al. (WWW 2018), one row per query item rather than per pair. It runs in chunks whose
    gradients are accumulated, so that memory is bounded by LOGITS_PER_CHUNK, not by items squared.

    Args:
        query: (items, dim) leaf tensor.
        key: (items, dim) leaf tensor.
        rows: (queries,) item rows.
        targets: (items, items) weights of what is to be predicted.
        hidden: (items, items) non-zero where a pair is already known to the model: neither target nor negative.
        candidate: (items,) bool; items without any training pair can be no target, so they are no negatives either.
        backward_scale: factor on the gradient.

    Returns:
        The mean loss over the queries that have targets.
    """
    chunk = max(1, LOGITS_PER_CHUNK // len(key))
    numbers = rows.cpu().numpy()
    wanted = np.diff(targets.indptr)[numbers] > 0
    numbers = numbers[wanted]
    total = 0.0
    for start in range(0, len(numbers), chunk):
        part = numbers[start : start + chunk]
        device_rows = torch.from_numpy(part).to(key.device)
        logits = query[device_rows] @ key.T
        known_row, known_column, _ = _coordinates(hidden[part], key.device)
        blocked = (~candidate).repeat(len(part), 1)
        blocked[known_row, known_column] = True
        blocked[torch.arange(len(part), device=key.device), device_rows] = True
        logits = logits.masked_fill(blocked, -torch.inf)
        normaliser = torch.logsumexp(logits, dim=1)
        row, column, weight = _coordinates(targets[part], key.device)
        mass = torch.zeros(len(part), device=key.device).index_add_(0, row, weight)
        # Square root: an item with many partners counts more than one with few, but not in proportion.
        share = weight / mass[row].sqrt()
        loss = (share * (normaliser[row] - logits[row, column])).sum() / len(numbers)
        (loss * backward_scale).backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def agreement(first: torch.Tensor, second: torch.Tensor, temperature: float = 0.2) -> torch.Tensor:
    """InfoNCE between the same items' vectors in two views, both (rows, dim) (van den Oord et al., 2018)."""
    logits = functional.normalize(first, dim=1) @ functional.normalize(second, dim=1).T / temperature
    labels = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


def _coordinates(
    matrix: sparse.csr_array[Any], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    entries = matrix.tocoo()
    return (
        torch.from_numpy(entries.row.astype(np.int64)).to(device),
        torch.from_numpy(entries.col.astype(np.int64)).to(device),
        torch.from_numpy(entries.data.astype(np.float32)).to(device),
    )
