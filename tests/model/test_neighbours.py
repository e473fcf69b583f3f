from __future__ import annotations

import pytest
import torch

from mmsc_cli.model import neighbours
from mmsc_cli.model.neighbours import nearest_items, semantic_vectors


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    vectors = torch.rand(rows, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=1)


def test_nearest_items_are_the_most_similar_allowed_ones_and_never_oneself() -> None:
    catalogue = unit(50, 8, seed=1)
    allowed = torch.arange(50) % 3 > 0
    rows, _ = nearest_items(catalogue, catalogue, allowed, k=5, self_rows=torch.arange(50))
    similarity = catalogue @ catalogue.T
    for query in range(50):
        candidates = [item for item in range(50) if allowed[item] and item != query]
        best = sorted(candidates, key=lambda item: -float(similarity[query, item]))[:5]
        assert rows[query].tolist() == best


def test_fewer_neighbours_than_asked_for_are_marked() -> None:
    catalogue = unit(4, 3, seed=2)
    allowed = torch.tensor([True, False, False, True])
    rows, weights = nearest_items(catalogue, catalogue, allowed, k=3, self_rows=torch.arange(4))
    assert rows[0].tolist() == [3, -1, -1]
    assert weights[0, 1:].tolist() == [0, 0]


def test_semantic_vectors_compare_by_the_modalities_both_items_have() -> None:
    text, image = torch.eye(3), torch.tensor([[1.0, 0], [1.0, 0], [0, 0]])
    present = torch.tensor([[True, True], [True, True], [True, False]])
    vectors = semantic_vectors([text, image], present)
    similarity = vectors @ vectors.T
    torch.testing.assert_close(similarity.diagonal(), torch.ones(3))
    torch.testing.assert_close(similarity[0, 1], torch.tensor(0.5))


def test_an_index_finds_what_exact_search_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    random = torch.Generator().manual_seed(3)
    centres = torch.randn(20, 16, generator=random)
    catalogue = torch.nn.functional.normalize(
        centres.repeat(100, 1) + torch.randn(2_000, 16, generator=random) / 3, dim=1
    )
    allowed = torch.arange(2_000) % 10 > 0
    own = torch.arange(2_000)
    exact, _ = nearest_items(catalogue, catalogue, allowed, 10, own)
    monkeypatch.setattr(neighbours, "APPROXIMATE_FROM", 1)
    found, weights = nearest_items(catalogue, catalogue, allowed, 10, own)
    assert bool(allowed[found].all())
    assert not bool((found == own[:, None]).any())
    assert bool((weights[:, :-1] >= weights[:, 1:]).all())
    same = (found[:, :, None] == exact[:, None, :]).any(dim=2).float().mean()
    assert same > 0.95
