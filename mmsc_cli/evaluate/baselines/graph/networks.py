"""The networks, on torch-geometric's layers where it has them. Each returns query and key vectors of all nodes.

Sources, from whose ideas (not code) they are written:
    LightGCN: He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020;
    GraphSAGE: Hamilton, Ying, Leskovec, "Inductive Representation Learning on Large Graphs", NeurIPS 2017;
    DecGCN: Liu et al., "Decoupled Graph Convolution Network for Inferring Substitutable and Complementary Items",
        CIKM 2020;
    SComGNN: Luo et al., "Spectral-Based Graph Neural Networks for Complementary Item Recommendation", AAAI 2024.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.nn import LGConv, SAGEConv

from mmsc_cli.evaluate.baselines.baseline import FittingTask
from mmsc_cli.evaluate.baselines.graph.training_graph import VisiblePairs

Vectors = tuple[torch.Tensor, torch.Tensor]
DIM = 128
INITIAL_SCALE = 10.0


class LightGcn(nn.Module):
    """The mean of an item's own vector and of its neighbourhood's after 1 .. `layers` hops."""

    def __init__(self, task: FittingTask, layers: int) -> None:
        super().__init__()
        self.item = nn.Embedding(task.n_nodes, DIM)
        nn.init.normal_(self.item.weight, std=0.1)
        self.layers = layers

    def forward(self, visible: VisiblePairs) -> Vectors:
        """Query and key vectors, the same, each (nodes, dim)."""
        mean = _mean_over_hops(self.item.weight, visible.own, self.layers)
        return mean, mean


class Content(nn.Module):
    """A projection of an item's embeddings plus, if wanted, a learned vector of the item where it has behaviour."""

    def __init__(self, task: FittingTask, *, item_vectors: bool) -> None:
        """Take text, image and joint embeddings side by side: unit rows, or zero where absent."""
        super().__init__()
        modalities = [
            np.asarray(modality.vectors, np.float32) * modality.present[:, None]
            for modality in (task.context.text, task.context.image, task.context.joint)
            if modality is not None and modality.present.any()
        ]
        joined = np.concatenate(modalities, axis=1) if modalities else np.zeros((task.context.n_items, 0), np.float32)
        # A linear layer's initial weights expect columns of variance one; unit rows are far shorter than that.
        joined *= np.float32(np.sqrt(joined.shape[1]))
        # Partners outside the catalogue have no content.
        joined = np.pad(joined, ((0, task.n_nodes - len(joined)), (0, 0)))
        self.register_buffer("features", torch.from_numpy(joined), persistent=False)
        self.projection = nn.Linear(joined.shape[1], DIM, bias=False) if joined.shape[1] else None
        self.item = nn.Embedding(task.n_nodes, DIM) if item_vectors else None
        if self.item is not None:
            nn.init.normal_(self.item.weight, std=0.1)

    def forward(self, visible: VisiblePairs) -> torch.Tensor:
        """Vectors of all nodes, (nodes, dim)."""
        known = [] if self.projection is None else [self.projection(self.features)]
        if self.item is not None:
            known.append(self.item.weight * visible.connected)
        return torch.stack(known).sum(dim=0)


class GraphSage(nn.Module):
    """Layers of h = W h + V mean(h of the neighbours), with a ReLU between them; all neighbours count, unsampled.

    Read out by cosine times a learned scale, as the paper normalises too: the logits reach a useful size in a few
    steps. Networks that start from item vectors do better with dot products (docs/experiments.md).
    """

    def __init__(self, task: FittingTask, *, layers: int, item_vectors: bool) -> None:
        super().__init__()
        self.content = Content(task, item_vectors=item_vectors)
        # The sum over rows whose weights sum to one is the mean.
        self.layers = nn.ModuleList(SAGEConv(DIM, DIM, aggr="sum") for _ in range(layers))
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_SCALE).log())

    def forward(self, visible: VisiblePairs) -> Vectors:
        """Query and key vectors of the same direction, each (nodes, dim)."""
        hidden = self.content(visible)
        for number, layer in enumerate(self.layers):
            hidden = layer(functional.relu(hidden) if number else hidden, visible.own_mean)
        unit = functional.normalize(hidden, dim=1)
        return unit * self.log_scale.exp(), unit


class DecGcn(nn.Module):
    """A vector space per relation; the two inform one another, and that of the relation to be answered is read out.

    Attention mixes three views of an item: its vector in this space propagated over this relation's graph; the same
    over the other relation's graph (the paper's integration of structures); and its vector in the other space,
    translated into this one (the paper's integration of semantics).
    """

    def __init__(self, task: FittingTask, layers: int) -> None:
        super().__init__()
        self.own, self.other = (Content(task, item_vectors=True) for _ in range(2))
        self.layers = layers
        self.translate = nn.Linear(DIM, DIM, bias=False)
        self.mixture = AttentionMixture()

    def forward(self, visible: VisiblePairs) -> Vectors:
        """Query and key vectors, the same, each (nodes, dim)."""
        own, other = self.own(visible), self.other(visible)
        mixed = self.mixture(
            _mean_over_hops(own, visible.own, self.layers),
            _mean_over_hops(own, visible.other, self.layers),
            self.translate(_mean_over_hops(other, visible.other, self.layers)),
        )
        return mixed, mixed


class ScomGnn(nn.Module):
    """Low-pass and mid-pass components of an item's content, mixed by attention over the two."""

    def __init__(self, task: FittingTask) -> None:
        super().__init__()
        self.content = Content(task, item_vectors=True)
        self.low, self.middle = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.mixture = AttentionMixture()

    def forward(self, visible: VisiblePairs) -> Vectors:
        """Query and key vectors, the same, each (nodes, dim)."""
        low, middle = spectral_filters(visible.own, self.content(visible))
        mixed = self.mixture(self.low(low), self.middle(middle))
        return mixed, mixed


class AttentionMixture(nn.Module):
    """The mean of several vectors of each item, weighed by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(DIM, DIM), nn.Tanh(), nn.Linear(DIM, 1, bias=False))

    def forward(self, *views: torch.Tensor) -> torch.Tensor:
        """From any number of (nodes, dim) to (nodes, dim)."""
        stacked = torch.stack(views, dim=1)
        return (torch.softmax(self.attention(stacked), dim=1) * stacked).sum(dim=1)


def spectral_filters(graph: torch.Tensor, signal: torch.Tensor) -> Vectors:
    """Low-pass and mid-pass components of signals (nodes, dim): partners share the first and differ in the second.

    With A the normalised adjacency and x an eigenvalue of the Laplacian I - A, from 0 (smooth) to 2 (alternating):
        low pass  ((I + A) / 2)²   responds with (1 - x / 2)², greatest at 0;
        mid pass  (I - A) (I + A)  responds with x (2 - x), greatest at 1 and 0 at either end.
    """
    once = graph @ signal
    twice = graph @ once
    return (signal + 2 * once + twice) / 4, signal - twice


def _mean_over_hops(start: torch.Tensor, graph: torch.Tensor, layers: int) -> torch.Tensor:
    """Mean of the vectors (nodes, dim) after 0 .. `layers` hops."""
    convolution = LGConv(normalize=False)
    hop = total = start
    for _ in range(layers):
        hop = convolution(hop, graph)
        total = total + hop
    return total / (1 + layers)
