from __future__ import annotations

import pytest
import torch

from mmsc_cli.model import mixing


def test_mixing_in_blocks_is_the_product_with_the_stacked_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "BLOCK_ROWS", 3)
    random = torch.Generator().manual_seed(0)
    gate = torch.randn(8, 4, 5, generator=random).requires_grad_()
    # Channels are views of wider tensors, as they come from one propagation.
    wide = torch.randn(8, 5 * 6, generator=random).requires_grad_()
    above = torch.randn(8, 4, 6, generator=random)

    found = mixing.mix(gate, wide.chunk(5, dim=1))
    expected = torch.bmm(gate, torch.stack(wide.chunk(5, dim=1), dim=1))
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(mixed, (gate, wide), above) for mixed in (found, expected))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)
