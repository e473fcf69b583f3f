"""Batches of a fine-tuning: which items, and what the towers are given of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmsc_cli.encode.adapt.contrastive_loss import MODALITIES, Temperatures, contrastive_loss
from mmsc_cli.encode.adapt.examples import Rows
from mmsc_cli.encoders.open_clip import OpenClipEncoder
from mmsc_cli.files.images import UnusableImageError, load_image
from mmsc_cli.runtime.parallel import map_in_threads
from mmsc_cli.tables.items import TEXT_COLUMNS, count_items, full_text, item_batches, take_items


@dataclass(frozen=True)
class TowerBatch:
    """A batch with its inputs.

    Attributes:
        rows: the pairs, and the items whose text and image are compared.
        mask: (items, 2) whether an item has a text, and an image that can be used.
        items: per modality the rows of the items that have it here, ascending.
        inputs: per modality token ids, or pixels, of these items.
    """

    rows: Rows
    mask: NDArray[np.bool_]
    items: dict[str, NDArray[np.int64]]
    inputs: dict[str, Tensor]

    def loss(self, encoder: OpenClipEncoder, temperatures: Temperatures) -> Tensor:
        """The contrastive loss, each item having gone through each tower once."""
        towers = {"text": encoder.encode_tokens, "image": encoder.encode_pixels}
        encoded = {name: towers[name](self.inputs[name]) for name in MODALITIES if len(self.items[name])}

        def vectors(modality: str, rows: NDArray[np.int64]) -> Tensor:
            return encoded[modality][torch.from_numpy(np.searchsorted(self.items[modality], rows)).to(encoder.device)]

        return contrastive_loss(self.rows, self.mask, vectors, vectors, temperatures)


class TowerReader:
    """Reads what batches need: the texts of all of them first, images while the batch before is on the device."""

    def __init__(self, encoder: OpenClipEncoder, items: Path, workspace_root: Path) -> None:
        """Note who has a text, names an image, and is warm."""
        self._encoder = encoder
        self._items = items
        self._root = workspace_root
        count = count_items(items)
        self.mask: NDArray[np.bool_] = np.zeros((count, 2), np.bool_)
        self.warm: NDArray[np.bool_] = np.zeros(count, np.bool_)
        start = 0
        for table in item_batches(items, [*TEXT_COLUMNS, "image_path", "split"], 0, count):
            here = slice(start, start + len(table))
            self.mask[here, 0] = [bool(text.strip()) for text in full_text(table)]
            self.mask[here, 1] = table["image_path"].is_valid().to_numpy()
            self.warm[here] = np.asarray(table["split"].to_pylist()) == "warm"
            start += len(table)

    def read(self, batches: Sequence[Rows]) -> Iterator[TowerBatch]:
        """The batches with their inputs; in each the ends of pairs are also compared with their own images."""
        whole = [self._with_ends(rows) for rows in batches]
        wanted = [np.unique(np.concatenate([rows.pairs.ravel(), rows.both])) for rows in whole]
        texts, paths = self._texts_and_paths(np.unique(np.concatenate([np.zeros(0, np.int64), *wanted])))
        named = (paths[row] for part in wanted for row in part.tolist())
        loaded = map_in_threads(self._load, named, ahead=2 * max(map(len, wanted), default=1))
        for rows, part in zip(whole, wanted, strict=True):
            yield self._batch(rows, part, [texts[row] for row in part.tolist()], [next(loaded) for _ in part])

    def _with_ends(self, rows: Rows) -> Rows:
        ends = rows.pairs.ravel()
        both = np.unique(np.concatenate([ends, rows.both[: max(len(rows.both) - len(ends), 0)]]))
        return Rows(rows.pairs, both[self.mask[both].all(axis=1)])

    def _texts_and_paths(self, rows: NDArray[np.int64]) -> tuple[dict[int, str], dict[int, str | None]]:
        texts: list[str] = []
        paths: list[str | None] = []
        for table in take_items(self._items, [*TEXT_COLUMNS, "image_path"], rows):
            texts += full_text(table)
            paths += table["image_path"].to_pylist()
        named = rows.tolist()
        return dict(zip(named, texts, strict=True)), dict(zip(named, paths, strict=True))

    def _load(self, path: str | None) -> NDArray[np.uint8] | None:
        if path is None:
            return None
        try:
            return self._encoder.pixels(load_image(self._root, path))
        except UnusableImageError:
            return None

    def _batch(
        self, rows: Rows, part: NDArray[np.int64], texts: list[str], images: list[NDArray[np.uint8] | None]
    ) -> TowerBatch:
        # Only now is it known which of the images that are named can be used.
        usable = [image for image in images if image is not None]
        seen = np.array([image is not None for image in images])
        mask = self.mask.copy()
        mask[part[~seen], 1] = False
        told = mask[part, 0]
        tokens = self._encoder.tokens([text for text, has in zip(texts, told, strict=True) if has])
        return TowerBatch(
            Rows(rows.pairs, rows.both[mask[rows.both].all(axis=1)]),
            mask,
            {"text": part[told], "image": part[seen]},
            {"text": tokens, "image": torch.from_numpy(np.stack(usable)) if usable else torch.zeros(0)},
        )
