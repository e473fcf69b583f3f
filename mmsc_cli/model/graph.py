"""Sparse propagation over item graphs: weighted sums of neighbours' vectors, as embedding bags.

On a CPU torch's embedding bag takes a third to a quarter of the time of its sparse matrix product for the same sums,
as it fetches the rows it will need ahead; a bag is an item, its entries are the neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from scipy import sparse
from torch.nn import functional

_GREATEST_INT32 = torch.iinfo(torch.int32).max


@dataclass(frozen=True)
class Graph:
    """A weighted (rows, items) matrix that can be multiplied with item vectors, with gradients to the vectors.

    Compressed rows: `start` (rows + 1,) and `column` (entries,) int32, or int64 from 2^31 entries on; `weight`
    (entries,) float32; `items` is the number of columns, `symmetric` whether the matrix is its own transpose.
    """

    start: torch.Tensor
    column: torch.Tensor
    weight: torch.Tensor
    items: int
    symmetric: bool

    def __len__(self) -> int:
        return len(self.start) - 1

    def propagate(self, vectors: torch.Tensor) -> torch.Tensor:
        """Weighted sum of each row's neighbours' vectors, (items, dim) to (rows, dim)."""
        summed: torch.Tensor = _Propagate.apply(vectors, self)
        return summed

    def sums(self, vectors: torch.Tensor) -> torch.Tensor:
        """The same without a gradient."""
        if not len(self.column):
            return vectors.new_zeros(len(self), vectors.shape[1])
        return functional.embedding_bag(
            self.column,
            vectors,
            self.start,
            mode="sum",
            per_sample_weights=self.weight.to(vectors.dtype),
            include_last_offset=True,
        )

    def of_rows(self, rows: torch.Tensor) -> Graph:
        """The matrix of some rows alone, (len(rows), items)."""
        degree = self.degree[rows]
        shift = (self.start[rows] - _offsets(degree, self.start.dtype)[:-1]).repeat_interleave(degree)
        entries = torch.arange(len(shift), device=shift.device, dtype=shift.dtype) + shift
        return _graph(degree, self.column[entries], self.weight[entries], self.items)

    @property
    def degree(self) -> torch.Tensor:
        """(rows,) how many neighbours each row has."""
        return self.start.diff()

    @property
    def row(self) -> torch.Tensor:
        """(entries,) int32, the row of each entry."""
        return torch.arange(len(self), device=self.start.device, dtype=torch.int32).repeat_interleave(self.degree)

    @cached_property
    def transposed(self) -> Graph:
        """The transpose, (items, rows), by which gradients flow back."""
        if self.symmetric:
            return self
        order = torch.argsort(self.column, stable=True)
        degree = torch.bincount(self.column, minlength=self.items)
        return _graph(degree, self.row[order], self.weight[order], len(self))

    def as_sparse(self) -> sparse.csr_array[Any]:
        """The matrix for scipy."""
        parts = (self.weight.cpu().numpy(), self.column.cpu().numpy(), self.start.cpu().numpy())
        return sparse.csr_array(parts, shape=(len(self), self.items))

    def to(self, device: torch.device) -> Graph:
        """The same on another device."""
        start, column, weight = (tensor.to(device) for tensor in (self.start, self.column, self.weight))
        return Graph(start, column, weight, self.items, self.symmetric)


class _Propagate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: torch.Tensor, graph: Graph) -> torch.Tensor:
        ctx.graph = graph
        ctx.items = len(vectors)
        return graph.sums(vectors)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        summed = ctx.graph.transposed.sums(gradient.contiguous())
        # A table may hold more rows than the matrix has columns: what is never a neighbour gets nothing.
        return functional.pad(summed, (0, 0, 0, ctx.items - len(summed))), None


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
    return normalised_graph(rows[order], columns[order], weight.repeat(2)[order], items)


def normalised_graph(rows: torch.Tensor, columns: torch.Tensor, weight: torch.Tensor, items: int) -> Graph:
    """The same from the entries of a symmetric matrix, each (entries,), in the order of rows."""
    degree = torch.zeros(items, device=weight.device).index_add_(0, rows, weight).clamp_min(1e-6)
    scaled = weight / (degree[rows] * degree[columns]).sqrt()
    return _graph(torch.bincount(rows, minlength=items), columns, scaled, items, symmetric=True)


def neighbour_graph(neighbours: torch.Tensor, similarity: torch.Tensor, items: int) -> Graph:
    """Directed graph from each row to its nearest items; rows sum to one.

    Args:
        neighbours: (rows, k) item rows, -1 where there are fewer than k.
        similarity: (rows, k) weights, 0 where there are fewer than k.
        items: number of items (columns).
    """
    weight = similarity / similarity.sum(dim=1, keepdim=True).clamp_min(1e-6)
    in_order, order = neighbours.sort(dim=1)
    valid = in_order >= 0
    return _graph(valid.sum(dim=1), in_order[valid], weight.gather(1, order)[valid], items)


def _graph(
    degree: torch.Tensor, column: torch.Tensor, weight: torch.Tensor, items: int, *, symmetric: bool = False
) -> Graph:
    """The matrix of entries in the order of their rows; an embedding bag wants both kinds of integers alike."""
    kind = torch.int32 if len(column) <= _GREATEST_INT32 else torch.int64
    return Graph(_offsets(degree, kind), column.to(kind), weight, items, symmetric)


def _offsets(counts: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    start = torch.zeros(len(counts) + 1, dtype=kind, device=counts.device)
    start[1:] = counts.cumsum(0)
    return start
