from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsc_cli.model import graph as graphs
from mmsc_cli.model.graph import neighbour_graph, symmetric_graph


def test_symmetric_graph_is_the_normalised_adjacency() -> None:
    a, b = torch.tensor([0, 1, 0]), torch.tensor([1, 2, 3])
    weight = torch.tensor([1.0, 2.0, 0.5])
    vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))

    dense = np.zeros((5, 5))
    for row, column, value in zip(a.tolist(), b.tolist(), weight.tolist(), strict=True):
        dense[row, column] = dense[column, row] = value
    degree = dense.sum(axis=1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros(5), where=degree > 0)
    expected = (scale[:, None] * dense * scale) @ vectors.numpy()

    found = symmetric_graph(a, b, weight, items=5).propagate(vectors)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert not found[4].any(), "an item without pairs gets nothing"


def test_gradients_flow_back_through_the_neighbours() -> None:
    graph = symmetric_graph(torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0]), items=3)
    vectors = torch.zeros(3, 2, requires_grad=True)
    graph.propagate(vectors)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    assert vectors.grad.tolist() == [[0, 0], [1, 1], [0, 0]]


def test_neighbour_graph_averages_by_similarity_and_passes_over_missing_places() -> None:
    neighbours = torch.tensor([[1, 2], [2, -1]])
    similarity = torch.tensor([[3.0, 1.0], [0.5, 0.0]])
    vectors = torch.tensor([[0.0], [4.0], [8.0]])
    found = neighbour_graph(neighbours, similarity, items=3).propagate(vectors)
    assert found.tolist() == [[5.0], [8.0]]


def test_a_graph_with_more_entries_than_32_bits_count_is_summed_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.arange(20), (torch.arange(20) + 3) % 21
    vectors = torch.randn(21, 4, generator=generator)
    rows = torch.tensor([4, 0, 9])
    small = symmetric_graph(a, b, torch.ones(20), items=21)

    monkeypatch.setattr(graphs, "_GREATEST_INT32", 10)
    large = symmetric_graph(a, b, torch.ones(20), items=21)

    assert large.start.dtype == large.column.dtype == torch.int64
    assert torch.equal(large.propagate(vectors), small.propagate(vectors))
    assert torch.equal(large.of_rows(rows).propagate(vectors), small.of_rows(rows).propagate(vectors))
    assert torch.equal(
        large.of_rows(rows).transposed.sums(vectors[:3]), small.of_rows(rows).transposed.sums(vectors[:3])
    )
