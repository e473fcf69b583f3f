"""Behaviour level: item vectors propagated over co-view, co-purchase and the semantic neighbour graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mmsc_cli.model.graph import Graph

CHANNELS = (
    "semantic",
    "item",
    "view",
    "view of view",
    "purchase",
    "purchase of purchase",
    "view of purchase",
    "purchase of view",
    "similar",
    "view of similar",
    "purchase of similar",
)


@dataclass(frozen=True)
class Surroundings:
    """The behaviour an item may be read from: graphs, degrees (items, 2), and whose item vector is shown (items, 1)."""

    view: Graph
    purchase: Graph
    similar: Graph
    degree: torch.Tensor
    has_item_vector: torch.Tensor


@dataclass(frozen=True)
class WantedRows:
    """Some items of a large catalogue: `rows` (rows,), and the places among them that are a fair `sample` of all."""

    rows: torch.Tensor
    sample: torch.Tensor


class BehaviourLevel(nn.Module):
    """What shoppers do around an item: one vector per channel."""

    def __init__(self, items: int, dim: int) -> None:
        super().__init__()
        self.item = nn.Embedding(items, dim)
        nn.init.normal_(self.item.weight, std=0.1)

    def forward(
        self, semantic: torch.Tensor, around: Surroundings, wanted: WantedRows | None = None
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Each channel of items, (rows, dim), from semantic vectors (items, dim).

        And (channels,) the root mean square of each channel over the catalogue, by which the task level divides.

        Args:
            semantic: of the whole catalogue.
            around: graphs over the whole catalogue.
            wanted: the items whose channels are wanted; None: all.
        """
        item = self.item.weight * around.has_item_vector
        start = semantic + item
        once = torch.cat([around.view.propagate(start), around.purchase.propagate(start)], dim=1)
        lent = torch.cat([start, once], dim=1)
        view, purchase, similar = around.view, around.purchase, around.similar
        near = once
        if wanted is not None:
            view, purchase, similar = (graph.of_rows(wanted.rows) for graph in (view, purchase, similar))
            semantic, item, near = (vectors[wanted.rows] for vectors in (semantic, item, once))
        viewed, bought = near.chunk(2, dim=1)
        view_of_view, view_of_purchase = view.propagate(once).chunk(2, dim=1)
        purchase_of_view, purchase_of_purchase = purchase.propagate(once).chunk(2, dim=1)
        channels = (
            semantic,
            item,
            viewed,
            view_of_view,
            bought,
            purchase_of_purchase,
            view_of_purchase,
            purchase_of_view,
            *similar.propagate(lent).chunk(3, dim=1),
        )
        # One size per channel, over all items: channels become equal, items keep their differences in length.
        measured = (channel.detach() if wanted is None else channel.detach()[wanted.sample] for channel in channels)
        size = torch.stack([_root_mean_square(channel) for channel in measured]).clamp_min(1e-6)
        return channels, size


def _root_mean_square(channel: torch.Tensor) -> torch.Tensor:
    # Row by row first: the sum over a whole channel, in one float32, would be off in the fifth digit.
    squares: torch.Tensor = torch.linalg.vector_norm(channel, dim=1).square()
    return (squares.mean() / channel.shape[1]).sqrt()
