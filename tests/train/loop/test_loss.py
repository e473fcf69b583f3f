from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from mmsc_cli.train.loop.loss import agreement, catalogue_softmax

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
    matrices: tuple[sparse.csr_array[Any], sparse.csr_array[Any]], logits_per_chunk: int
) -> None:
    random = torch.Generator().manual_seed(0)
    query = torch.randn(ITEMS, DIM, generator=random).requires_grad_()
    key = torch.randn(ITEMS, DIM, generator=random).requires_grad_()
    targets, hidden = matrices
    rows = [row for row in (7, 0, 3, 5, 1) if targets[[row]].nnz]

    expected = by_hand(query, key, rows, targets, hidden, torch.ones(ITEMS, dtype=torch.bool))
    gradients = torch.autograd.grad(expected, (query, key))
    found = catalogue_softmax(
        query.detach()[rows], key.detach(), np.array(rows), targets[rows], hidden[rows], logits_per_chunk
    )

    assert found.loss / len(rows) == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(found.query / len(rows), gradients[0][rows])
    torch.testing.assert_close(found.key / len(rows), gradients[1])


def test_agreement_is_lower_for_views_that_agree() -> None:
    vectors = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    shuffled = vectors.roll(1, dims=0)
    assert agreement(vectors, vectors) < agreement(vectors, shuffled)
