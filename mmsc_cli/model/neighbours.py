"""The semantic nearest-neighbour graph: what carries an item that no shopper has met."""

from __future__ import annotations

import torch

CHUNK = 2_048


def semantic_vectors(text: torch.Tensor, image: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """One unit vector per item from the modalities present, such that the dot product is their mean cosine.

    Args:
        text: (items, text_dim) unit or zero rows.
        image: (items, image_dim) unit or zero rows.
        present: (items, 2) bool.
    """
    joined = torch.cat([text, image], dim=1)
    return joined / present.sum(dim=1, keepdim=True).clamp_min(1).sqrt()


def nearest_items(
    queries: torch.Tensor,
    catalogue: torch.Tensor,
    allowed: torch.Tensor,
    k: int,
    self_rows: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Exact nearest neighbours by dot product, in chunks.

    Args:
        queries: (queries, dim) vectors.
        catalogue: (items, dim) vectors.
        allowed: (items,) bool, which items may be neighbours.
        k: neighbours per query.
        self_rows: (queries,) each query's own row in the catalogue, never its own neighbour; None for new items.

    Returns:
        Rows (queries, k), -1 where there are fewer, and similarities (queries, k), sharpened by the fourth power.
    """
    k = min(k, len(catalogue))
    found, similar = [], []
    for start in range(0, len(queries), CHUNK):
        scores = queries[start : start + CHUNK] @ catalogue.T
        scores[:, ~allowed] = 0
        if self_rows is not None:
            scores.scatter_(1, self_rows[start : start + CHUNK, None], 0)
        values, rows = scores.topk(k, dim=1)
        found.append(torch.where(values > 0, rows, -1))
        similar.append(values.clamp_min(0) ** 4)
    return torch.cat(found), torch.cat(similar)
