"""The training pairs as graphs: all of them, or those left when some are hidden to be predicted."""

from __future__ import annotations

import warnings
from functools import cached_property

import numpy as np
import torch
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_torch_csr_tensor, to_undirected

from mmsc_cli.evaluate.baselines.baseline import FittingTask
from mmsc_cli.tables.relations import RELATIONS


class TrainingGraph:
    """The training pairs of a relation and of the other one; all tensors on one device.

    Partners outside the catalogue are further nodes, after the items, in the graphs of both relations.
    """

    def __init__(self, task: FittingTask, device: torch.device) -> None:
        pairs = task.context.pairs
        self.n_items, self.n_nodes = task.context.n_items, task.n_nodes
        self.device = device
        self.ends = torch.from_numpy(np.stack([pairs.a, pairs.b]).astype(np.int64)).to(device)
        other = next(name for name in RELATIONS if name != task.relation)
        self.own, self.other = (torch.from_numpy(pairs.strength(name)).to(device) for name in (task.relation, other))
        outside = task.outside().tocoo()
        outside_ends = np.stack([outside.row, self.n_items + outside.col.astype(np.int64)])
        self.outside_ends = torch.from_numpy(outside_ends).to(device)
        self.outside = torch.from_numpy(outside.data).to(device)
        self.touched = torch.zeros(self.n_nodes, dtype=torch.bool, device=device)
        self.touched[self.ends] = True
        self.touched[self.outside_ends] = True

    @property
    def candidates(self) -> torch.Tensor:
        """Rows of the items with a training pair: only they can be right, so negatives are drawn from them alone."""
        items: torch.Tensor = torch.unique(self.ends)
        return items

    def whole(self) -> VisiblePairs:
        """All training pairs, to answer from."""
        return VisiblePairs(self, torch.ones_like(self.own, dtype=torch.bool), self.touched)

    def masked(self, hide: float, isolate: float, generator: torch.Generator) -> tuple[VisiblePairs, torch.Tensor]:
        """Hide pairs, in both relations at once, and play items as having none.

        Args:
            hide: fraction of the pairs to hide.
            isolate: fraction of the items whose pairs are all hidden, and whose own vector is not shown.
            generator: of the random choices, on the CPU.

        Returns:
            The visible pairs; and the pairs of the relation to be predicted, (2, pairs): the hidden ones, or all where
            none is hidden.
        """
        hidden = (torch.rand(self.ends.shape[1], generator=generator) < hide).to(self.device)
        isolated = (torch.rand(self.n_nodes, generator=generator) < isolate).to(self.device)
        isolated[self.n_items :] = False
        hidden |= isolated[self.ends].any(dim=0)
        wanted = (self.own > 0) & hidden
        if not bool(wanted.any()):
            wanted = self.own > 0
        return VisiblePairs(self, ~hidden, self.touched & ~isolated), self.ends[:, wanted]


class VisiblePairs:
    """The visible training pairs as sparse (nodes, nodes) matrices, each built when a network first asks for it."""

    def __init__(self, graph: TrainingGraph, visible: torch.Tensor, connected: torch.Tensor) -> None:
        """`visible`: which pairs, (pairs,) bool; `connected`: which nodes have behaviour, (nodes,) bool."""
        self._graph = graph
        self._visible = visible
        self._connected = connected

    @cached_property
    def connected(self) -> torch.Tensor:
        """Shape (nodes, 1): 0 for the items without behaviour, true or played, whose own vector is not shown."""
        return self._connected.float().unsqueeze(1)

    @cached_property
    def own(self) -> torch.Tensor:
        """The relation to be answered, normalised by the square roots of both ends' degrees."""
        return self._matrix(self._graph.own)

    @cached_property
    def other(self) -> torch.Tensor:
        """The other relation, normalised likewise."""
        return self._matrix(self._graph.other)

    @cached_property
    def own_mean(self) -> torch.Tensor:
        """The relation to be answered; the weights of each item's neighbours are equal and sum to one."""
        own = self.own
        degree = own.crow_indices().diff()
        weight = (1 / degree).repeat_interleave(degree)
        return torch.sparse_csr_tensor(own.crow_indices(), own.col_indices(), weight, own.shape)

    def _matrix(self, strength: torch.Tensor) -> torch.Tensor:
        graph = self._graph
        kept, outside = self._visible & (strength > 0), self._connected[graph.outside_ends[0]]
        ends = torch.cat([graph.ends[:, kept], graph.outside_ends[:, outside]], dim=1)
        weight = torch.cat([strength[kept], graph.outside[outside]])
        edges, weight = to_undirected(ends, weight, graph.n_nodes)
        edges, weight = gcn_norm(edges, weight, graph.n_nodes, add_self_loops=False)
        with warnings.catch_warnings():
            # "Sparse CSR tensor support is in beta state": its products are tested against dense ones.
            warnings.simplefilter("ignore", UserWarning)
            # A layer multiplies compressed rows as a whole: a tenth of the time of gathering and scattering.
            matrix: torch.Tensor = to_torch_csr_tensor(edges, weight, graph.n_nodes, is_coalesced=True)
        return matrix
