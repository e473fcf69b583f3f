"""The semantic nearest-neighbour graph: what carries an item that no shopper has met."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch.nn import functional

from mmsc_cli.runtime.progress import SILENT, Progress

_LOG = logging.getLogger(__name__)
CHUNK_ROWS = 2_048
CHUNK_CELLS = 1 << 26
# Comparing every item with every other takes time in the square of them; from here on an index may do it.
APPROXIMATE_FROM = 150_000
PROBED_CELLS = 32


def semantic_vectors(sides: Sequence[torch.Tensor], masks: torch.Tensor) -> torch.Tensor:
    """One unit vector per item from the modalities present, such that the dot product is their mean cosine.

    Args:
        sides: text, image and joint vectors, (items, dim) each, unit or zero rows.
        masks: (items, sides) bool, as `mmsc_cli.model.features.side_masks`.
    """
    joined = torch.cat([side.float() for side in sides], dim=1)
    return joined / masks.sum(dim=1, keepdim=True).clamp_min(1).sqrt()


def nearest_items(
    queries: torch.Tensor,
    catalogue: torch.Tensor,
    allowed: torch.Tensor,
    k: int,
    self_rows: torch.Tensor | None = None,
    progress: Progress = SILENT,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearest neighbours by dot product, in chunks: exact, or of a large catalogue by faiss, where it is installed.

    Args:
        queries: (queries, dim) vectors.
        catalogue: (items, dim) vectors.
        allowed: (items,) bool, which items may be neighbours.
        k: neighbours per query.
        self_rows: (queries,) each query's row in the catalogue, never its own neighbour; None for new items.
        progress: counts queries.

    Returns:
        Rows (queries, k), -1 where there are fewer, and similarities (queries, k), sharpened by the fourth power.
    """
    k = min(k, len(catalogue))
    chunk = max(1, min(CHUNK_ROWS, CHUNK_CELLS // max(1, len(catalogue))))
    search = _Exact(catalogue, allowed)
    if min(len(queries), int(allowed.sum())) >= APPROXIMATE_FROM:
        if find_spec("faiss"):
            search, chunk = _Approximate(catalogue, allowed), CHUNK_ROWS
        else:
            _LOG.warning(
                "semantic neighbours of %d items: exact search takes long; `pip install faiss-cpu` shortens it",
                len(queries),
            )
    nearest, similar = [], []
    with progress.task("Semantic neighbours", len(queries)) as task:
        for start in range(0, len(queries), chunk):
            self_row = None if self_rows is None else self_rows[start : start + chunk]
            values, rows = search(queries[start : start + chunk], k, self_row)
            nearest.append(torch.where(values > 0, rows, -1))
            similar.append(values.clamp_min(0) ** 4)
            task.advance(len(rows))
    return torch.cat(nearest), torch.cat(similar)


class _Exact:
    def __init__(self, catalogue: torch.Tensor, allowed: torch.Tensor) -> None:
        self._rows = torch.nonzero(allowed).squeeze(1)
        self._vectors = catalogue[self._rows]
        self._place = torch.full((len(catalogue),), -1, device=catalogue.device)
        self._place[self._rows] = torch.arange(len(self._rows), device=catalogue.device)

    def __call__(
        self, queries: torch.Tensor, k: int, self_row: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Similarities and rows of the k nearest, each (queries, k); similarity 0 where there are fewer."""
        scores = queries @ self._vectors.T
        if self_row is not None:
            itself = self._place[self_row]
            asking = torch.nonzero(itself >= 0).squeeze(1)
            scores[asking, itself[asking]] = 0
        values, places = scores.topk(min(k, len(self._rows)), dim=1)
        missing = (0, k - values.shape[1])
        return functional.pad(values, missing), functional.pad(self._rows[places], missing, value=-1)


class _Approximate(_Exact):
    """The same from the cells of an inverted file nearest to a query (faiss's IVF, vectors in 16 bits)."""

    def __init__(self, catalogue: torch.Tensor, allowed: torch.Tensor) -> None:
        import faiss  # noqa: PLC0415  an extra

        self._rows = torch.nonzero(allowed).squeeze(1)
        width = catalogue.shape[1]
        cells = max(1, int(4 * len(self._rows) ** 0.5))
        self._quantiser = faiss.IndexFlatIP(width)
        self._index = faiss.IndexIVFScalarQuantizer(
            self._quantiser, width, cells, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        self._index.nprobe = PROBED_CELLS
        # About as many as faiss would draw for its (seeded) k-means, taken evenly, without a copy of all.
        step = max(1, len(self._rows) // (64 * cells))
        self._index.train(catalogue[self._rows[::step]].cpu().numpy())
        for part in torch.split(self._rows, 1 << 17):
            self._index.add(catalogue[part].cpu().numpy())

    def __call__(
        self, queries: torch.Tensor, k: int, self_row: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        values, places = (torch.from_numpy(nearest) for nearest in self._index.search(queries.cpu().numpy(), k + 1))
        rows = torch.where(places >= 0, self._rows.cpu()[places], -1)
        values = values.masked_fill(rows < 0, 0)
        if self_row is not None:
            values = values.masked_fill(rows == self_row.cpu()[:, None], 0)
        values, order = values.sort(dim=1, descending=True)
        return values[:, :k].to(queries.device), rows.gather(1, order)[:, :k].to(queries.device)
