from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from mmsc_cli.train import loss as losses
from mmsc_cli.train.loss import agreement, catalogue_softmax

ITEMS, DIM = 9, 4


@pytest.fixture
def matrices() -> tuple[sparse.csr_array[Any], sparse.csr_array[Any]]:
    random = np.random.default_rng(3)
    kind = np.triu(random.integers(0, 3, (ITEMS, ITEMS)), 1)
    kind[0] = 0  # item 0 has nothing to predict
    strength = random.random((ITEMS, ITEMS)) * (kind == 1)
    targets = sparse.csr_array((strength + strength.T).astype(np.float32))
    hidden = sparse.csr_array(((kind == 2) | (kind == 2).T).astype(np.float32))
    return targets, hidden


def by_hand(
    query: torch.Tensor,
    key: torch.Tensor,
    rows: list[int],
    targets: sparse.csr_array[Any],
    hidden: sparse.csr_array[Any],
    candidate: torch.Tensor,
) -> torch.Tensor:
    parts = []
    for row in rows:
        weight = torch.tensor(targets.toarray()[row])
        if not weight.any():
            continue
        allowed = candidate & (torch.tensor(hidden.toarray()[row]) == 0) & (torch.arange(ITEMS) != row)
        logits = (query[row] @ key.T).masked_fill(~allowed, -torch.inf)
        log_shares = torch.log_softmax(logits, dim=0)
        chosen = weight > 0
        parts.append(-(weight[chosen] * log_shares[chosen]).sum() / weight.sum().sqrt())
    return torch.stack(parts).mean()


@pytest.mark.parametrize("logits_per_chunk", [1, 2 * ITEMS, 1 << 20])
def test_chunked_softmax_equals_the_one_by_hand(
    monkeypatch: pytest.MonkeyPatch,
    matrices: tuple[sparse.csr_array[Any], sparse.csr_array[Any]],
    logits_per_chunk: int,
) -> None:
    monkeypatch.setattr(losses, "LOGITS_PER_CHUNK", logits_per_chunk)
    random = torch.Generator().manual_seed(0)
    query = torch.randn(ITEMS, DIM, generator=random).requires_grad_()
    key = torch.randn(ITEMS, DIM, generator=random).requires_grad_()
    targets, hidden = matrices
    candidate = torch.ones(ITEMS, dtype=torch.bool)
    rows = [7, 0, 3, 5, 1]

    expected = by_hand(query, key, rows, targets, hidden, candidate)
    gradients = torch.autograd.grad(expected, (query, key))
    found = catalogue_softmax(query, key, torch.tensor(rows), targets, hidden, candidate, backward_scale=1.0)

    assert found == pytest.approx(float(expected.detach()), rel=1e-5)
    for leaf, gradient in zip((query, key), gradients, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, gradient)


def test_items_that_can_be_no_target_are_no_negatives(
    matrices: tuple[sparse.csr_array[Any], sparse.csr_array[Any]],
) -> None:
    targets, hidden = matrices
    candidate = torch.ones(ITEMS, dtype=torch.bool)
    candidate[0] = False
    random = torch.Generator().manual_seed(0)
    query = torch.randn(ITEMS, DIM, generator=random)
    key = torch.randn(ITEMS, DIM, generator=random).requires_grad_()
    catalogue_softmax(query, key, torch.arange(1, ITEMS), targets, hidden, candidate, backward_scale=1.0)
    assert key.grad is not None
    assert not key.grad[0].any()
    assert key.grad[1:].any()


def test_agreement_is_lower_for_views_that_agree() -> None:
    vectors = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    shuffled = vectors.roll(1, dims=0)
    assert agreement(vectors, vectors) < agreement(vectors, shuffled)
