"""Behaviour level: item vectors propagated over co-view, co-purchase and the semantic neighbour graph."""

from __future__ import annotations

import torch
from torch import nn

from mmsc_cli.train.graph import Graph

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


class BehaviourLevel(nn.Module):
    """What shoppers do around an item: one vector per channel."""

    def __init__(self, items: int, dim: int) -> None:
        super().__init__()
        self.item = nn.Embedding(items, dim)
        nn.init.normal_(self.item.weight, std=0.1)

    def forward(
        self,
        semantic: torch.Tensor,
        view: Graph,
        purchase: Graph,
        similar: Graph,
        has_item_vector: torch.Tensor,
    ) -> torch.Tensor:
        """Return the channels of every item, (items, len(CHANNELS), dim).

        Args:
            semantic: (items, dim) from the semantic level.
            view: co-view graph that may be used.
            purchase: co-purchase graph that may be used.
            similar: semantic neighbour graph.
            has_item_vector: (items, 1) float, 0 where the learned item vector is hidden (dropout, cold items).
        """
        item = self.item.weight * has_item_vector
        start = semantic + item
        viewed, bought = view.propagate(start), purchase.propagate(start)
        once = torch.cat([viewed, bought], dim=1)
        view_of_view, view_of_purchase = view.propagate(once).chunk(2, dim=1)
        purchase_of_view, purchase_of_purchase = purchase.propagate(once).chunk(2, dim=1)
        borrowed = similar.propagate(torch.cat([start, once], dim=1)).chunk(3, dim=1)
        channels = (
            semantic,
            item,
            viewed,
            view_of_view,
            bought,
            purchase_of_purchase,
            view_of_purchase,
            purchase_of_view,
            *borrowed,
        )
        stacked = torch.stack(channels, dim=1)
        # One scale per channel, over all items: channels start equal, items keep their differences in length.
        return stacked / stacked.detach().square().mean(dim=(0, 2), keepdim=True).sqrt().clamp_min(1e-6)
