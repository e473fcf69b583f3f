"""Sparse propagation over item graphs: PyG's EdgeIndex as a cached, symmetric or directed sparse matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from scipy import sparse
from torch_geometric import EdgeIndex

# The graphs are built here and sorted; torch asks to be told whether to check each product's operands again.
torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Graph:
    """A weighted (items, items) matrix that can be multiplied with item vectors, with gradients to the vectors."""

    edges: EdgeIndex
    weight: torch.Tensor

    def propagate(self, vectors: torch.Tensor) -> torch.Tensor:
        """Weighted sum of each item's neighbours' vectors, (items, dim) to (items, dim)."""
        product: torch.Tensor = self.edges.matmul(vectors, input_value=self.weight)
        return product

    def as_sparse(self) -> sparse.csr_array[Any]:
        """The matrix for scipy."""
        rows, columns = self.edges.as_tensor().cpu().numpy()
        shape = tuple(self.edges.sparse_size())
        return sparse.coo_array((self.weight.cpu().numpy(), (rows, columns)), shape=shape).tocsr()

    def to(self, device: torch.device) -> Graph:
        """The same on another device."""
        return Graph(self.edges.to(device), self.weight.to(device))


def symmetric_graph(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor, items: int) -> Graph:
    """Graph of unordered pairs, normalised by the square roots of both ends' weighted degrees.

    Args:
        a: (pairs,) one end.
        b: (pairs,) the other end.
        weight: (pairs,) non-negative.
        items: number of items.
    """
    rows, columns = torch.cat([a, b]), torch.cat([b, a])
    order = torch.argsort(rows * items + columns)
    degree = torch.zeros(items, device=weight.device).index_add_(0, rows, weight.repeat(2)).clamp_min(1e-6)
    scaled = weight / (degree[a] * degree[b]).sqrt()
    edges = EdgeIndex(
        torch.stack([rows, columns])[:, order],
        sparse_size=(items, items),
        sort_order="row",
        is_undirected=True,
    )
    return Graph(edges.fill_cache_(), scaled.repeat(2)[order])


def neighbour_graph(neighbours: torch.Tensor, similarity: torch.Tensor, items: int) -> Graph:
    """Directed graph from each row to its nearest items; rows sum to one.

    Args:
        neighbours: (rows, k) item rows, -1 where there are fewer than k.
        similarity: (rows, k) weights, 0 where there are fewer than k.
        items: number of items (columns).
    """
    count, width = neighbours.shape
    rows = torch.arange(count, device=neighbours.device).repeat_interleave(width)
    weight = similarity / similarity.sum(dim=1, keepdim=True).clamp_min(1e-6)
    valid = neighbours.flatten() >= 0
    keys = torch.stack([rows[valid], neighbours.flatten()[valid]])
    order = torch.argsort(keys[0] * items + keys[1])
    edges = EdgeIndex(keys[:, order], sparse_size=(count, items), sort_order="row")
    return Graph(edges.fill_cache_(), weight.flatten()[valid][order])
