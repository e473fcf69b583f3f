"""Semantic level: frozen embeddings through small adapters, and attention over what an item has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mmsc_cli.model.features import ItemFeatures


class ModalityAdapter(nn.Module):
    """Projection of a frozen embedding with a residual bottleneck."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, dim)
        self.residual = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim // 2), nn.GELU(), nn.Linear(dim // 2, dim))
        self.normalise = nn.LayerNorm(dim)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """(items, width), of any float type, to (items, dim)."""
        projected = self.project(embedding.to(self.project.weight.dtype))
        normal: torch.Tensor = self.normalise(projected + self.residual(projected))
        return normal


class SemanticLevel(nn.Module):
    """What an item is: one vector from text, image, both as one input, category path, brand and price.

    A modality that is absent gets no attention; an item with nothing but an id gets the zero vector.
    """

    def __init__(
        self, side_dims: Sequence[int], categories: int, brands: int, dim: int, attention: bool = True
    ) -> None:
        """Take the widths of text, image and joint vectors, the last 0 where there are none."""
        super().__init__()
        text_dim, image_dim, joint_dim = side_dims
        self.text = ModalityAdapter(text_dim, dim)
        self.image = ModalityAdapter(image_dim, dim)
        self.joint = ModalityAdapter(joint_dim, dim) if joint_dim else None
        self.category = nn.Embedding(categories + 1, dim, padding_idx=0)
        self.brand = nn.Embedding(brands + 1, dim, padding_idx=0)
        self.price = nn.Linear(1, dim)
        self.attribute_norm = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.attention = (
            nn.Sequential(nn.Linear(dim, dim // 2), nn.Tanh(), nn.Linear(dim // 2, 1)) if attention else None
        )
        for embedding in (self.category, self.brand):
            nn.init.normal_(embedding.weight, std=0.1)
            with torch.no_grad():
                embedding.weight[0] = 0

    def forward(self, items: ItemFeatures) -> torch.Tensor:
        """(items, dim)."""
        attributes = (
            items.category_membership.propagate(self.category.weight),
            self.brand(items.brand),
            self.price(items.price[:, :1]),
        )
        masks = items.side_masks
        adapters = zip((self.text, self.image, self.joint), items.sides, strict=True)
        embedded = (
            adapter(embedding) if bool(masks[:, column].any()) else torch.zeros_like(attributes[0])
            for column, (adapter, embedding) in enumerate(adapters)
            if adapter is not None
        )
        normal = (norm(value) for norm, value in zip(self.attribute_norm, attributes, strict=True))
        tokens = torch.stack([*embedded, *normal], dim=1)
        has_category = attributes[0].detach().abs().sum(dim=1) > 0
        known = [masks, has_category[:, None], items.brand[:, None] > 0, items.price[:, 1:] > 0]
        mask = torch.cat(known, dim=1)
        if self.attention is None:
            weight = mask / mask.sum(dim=1, keepdim=True).clamp_min(1)
        else:
            logits = self.attention(tokens).squeeze(-1).masked_fill(~mask, -1e4)
            weight = torch.softmax(logits, dim=1) * mask
        # Scaled up, so that an item with several modalities is not shorter than one with a single one.
        return torch.bmm(weight.unsqueeze(1), tokens).squeeze(1) * mask.sum(dim=1, keepdim=True).sqrt()
