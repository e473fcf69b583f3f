"""Batches of a fine-tuning: item rows with their token ids and pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmsc_cli.encode.adapt.contrastive_loss import MODALITIES, Temperatures, contrastive_loss
from mmsc_cli.encode.adapt.pair_batches import Rows
from mmsc_cli.encoders.open_clip import OpenClipEncoder
from mmsc_cli.files.images import UnusableImageError, load_image
from mmsc_cli.runtime.parallel import map_in_threads
from mmsc_cli.tables.items import TEXT_COLUMNS, count_items, full_text, item_batches, take_items


@dataclass(frozen=True)
class TowerBatch:
    """A batch with its inputs.

    Attributes:
        rows: the pairs, and the items whose text and image are compared.
        mask: (items, 2) whether an item has a text and a usable image.
        encoded: the item rows in `inputs`, by modality; ascending.
        inputs: token ids of texts, pixels of images.
    """

    rows: Rows
    mask: NDArray[np.bool_]
    encoded: dict[str, NDArray[np.int64]]
    inputs: dict[str, Tensor]

    def loss(self, encoder: OpenClipEncoder, temperatures: Temperatures) -> Tensor:
        """Return the contrastive loss; each item goes through each tower once."""
        towers = {"text": encoder.encode_tokens, "image": encoder.encode_pixels}
        outputs = {name: towers[name](self.inputs[name]) for name in MODALITIES if len(self.encoded[name])}

        def vectors(modality: str, rows: NDArray[np.int64]) -> Tensor:
            positions = torch.from_numpy(np.searchsorted(self.encoded[modality], rows))
            return outputs[modality][positions.to(encoder.device)]

        return contrastive_loss(self.rows, self.mask, vectors, vectors, temperatures)


class TowerReader:
    """Reads the inputs of batches: all texts first, images while the previous batch is on the device."""

    def __init__(self, encoder: OpenClipEncoder, items_path: Path, workspace_root: Path) -> None:
        """Read which items have a text, name an image, and are warm."""
        self._encoder = encoder
        self._items_path = items_path
        self._root = workspace_root
        n_items = count_items(items_path)
        self.mask: NDArray[np.bool_] = np.zeros((n_items, 2), np.bool_)
        self.warm: NDArray[np.bool_] = np.zeros(n_items, np.bool_)
        start = 0
        for table in item_batches(items_path, [*TEXT_COLUMNS, "image_path", "split"], 0, n_items):
            here = slice(start, start + len(table))
            self.mask[here, 0] = [bool(text.strip()) for text in full_text(table)]
            self.mask[here, 1] = table["image_path"].is_valid().to_numpy()
            self.warm[here] = np.asarray(table["split"].to_pylist()) == "warm"
            start += len(table)

    def read(self, batches: Sequence[Rows]) -> Iterator[TowerBatch]:
        """Yield the batches with their inputs; the items of pairs are also compared with their own images."""
        extended = [self._with_ends(rows) for rows in batches]
        wanted = [np.unique(np.concatenate([rows.pairs.ravel(), rows.both])) for rows in extended]
        texts, paths = self._texts_and_paths(np.unique(np.concatenate([np.zeros(0, np.int64), *wanted])))
        named = (paths[row] for item_rows in wanted for row in item_rows.tolist())
        loaded = map_in_threads(self._load, named, ahead=max(1, 2 * max(map(len, wanted), default=0)))
        for rows, item_rows in zip(extended, wanted, strict=True):
            images = list(islice(loaded, len(item_rows)))
            yield self._batch(rows, item_rows, [texts[row] for row in item_rows.tolist()], images)

    def _with_ends(self, rows: Rows) -> Rows:
        ends = rows.pairs.ravel()
        both = np.unique(np.concatenate([ends, rows.both[: max(len(rows.both) - len(ends), 0)]]))
        return Rows(rows.pairs, both[self.mask[both].all(axis=1)])

    def _texts_and_paths(self, rows: NDArray[np.int64]) -> tuple[dict[int, str], dict[int, str | None]]:
        texts: list[str] = []
        paths: list[str | None] = []
        for table in take_items(self._items_path, [*TEXT_COLUMNS, "image_path"], rows):
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
        self, rows: Rows, item_rows: NDArray[np.int64], texts: list[str], images: list[NDArray[np.uint8] | None]
    ) -> TowerBatch:
        # Whether an image can be used is known only now.
        usable = [image for image in images if image is not None]
        is_usable = np.array([image is not None for image in images])
        mask = self.mask.copy()
        mask[item_rows[~is_usable], 1] = False
        has_text = mask[item_rows, 0]
        tokens = self._encoder.tokens([text for text, has in zip(texts, has_text, strict=True) if has])
        return TowerBatch(
            Rows(rows.pairs, rows.both[mask[rows.both].all(axis=1)]),
            mask,
            {"text": item_rows[has_text], "image": item_rows[is_usable]},
            {"text": tokens, "image": torch.from_numpy(np.stack(usable)) if usable else torch.zeros(0)},
        )
