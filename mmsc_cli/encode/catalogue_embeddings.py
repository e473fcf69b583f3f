"""The catalogue through an encoder: batch by batch into memory-mapped `text.npy` and `image.npy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from mmsc_cli.encode.adapter import Adapter
from mmsc_cli.encode.encoder import Encoder
from mmsc_cli.encode.images import UnusableImageError, load_ahead
from mmsc_cli.items import full_text
from mmsc_cli.progress import Progress

TEXT_BATCH = 1_024
TEXT, IMAGE = 0, 1


class CatalogueEmbeddings:
    """The arrays of `embeddings/` while they are written; `mask` (items, 2) says which rows are set."""

    def __init__(self, folder: Path, items: int, encoder: Encoder) -> None:
        """Lay out the files; rows nobody writes stay zero."""
        self._folder = folder
        self.mask: NDArray[np.bool_] = np.zeros((items, 2), np.bool_)
        self.text = _float16_file(folder / "text.npy", items, encoder.text_dim)
        self.image = _float16_file(folder / "image.npy", items, encoder.image_dim)

    def write_texts(self, items: pa.Table, encoder: Encoder, progress: Progress) -> None:
        """Encode every text that is not empty."""
        with progress.task("encoding texts", total=len(items)) as task:
            for start in range(0, len(items), TEXT_BATCH):
                texts = full_text(items.slice(start, TEXT_BATCH))
                rows = np.flatnonzero([bool(text.strip()) for text in texts])
                self._set(TEXT, rows + start, encoder.encode_texts([texts[row] for row in rows]))
                task.advance(len(texts))

    def write_images(
        self,
        items: pa.Table,
        encoder: Encoder,
        root: Path,
        failures: Path,
        batch_size: int,
        progress: Progress,
    ) -> int:
        """Encode every image that can be used; note the others in `failures`, which is made if there are any.

        Returns:
            How many could not be used.
        """
        rows = image_rows(items)
        paths = items["image_path"].take(rows).to_pylist()
        ids = items["item_id"].take(rows).to_pylist()
        failed, done = 0, 0
        with progress.task("encoding images", total=len(rows)) as task:
            for batch in load_ahead(root, paths, batch_size):
                here = range(done, done + len(batch))
                usable = [at for at, image in zip(here, batch, strict=True) if isinstance(image, Image.Image)]
                images = [image for image in batch if isinstance(image, Image.Image)]
                self._set(IMAGE, rows[usable], encoder.encode_images(images))
                reasons = [
                    (at, image) for at, image in zip(here, batch, strict=True) if isinstance(image, UnusableImageError)
                ]
                if reasons:
                    with failures.open("a", encoding="utf-8") as file:
                        for at, reason in reasons:
                            _note(file, ids[at], paths[at], reason)
                failed += len(reasons)
                done += len(batch)
                task.advance(len(batch))
        return failed

    def adapt(self, adapter: Adapter) -> None:
        """Put the adapted vectors in place of the frozen ones."""
        for start in range(0, len(self.mask), TEXT_BATCH):
            part = slice(start, start + TEXT_BATCH)
            self.text[part] = adapter.adapt_texts(self.text[part].astype(np.float32))
            self.image[part] = adapter.adapt_images(self.image[part].astype(np.float32))

    def close(self) -> None:
        """Write the mask and flush the arrays."""
        np.save(self._folder / "mask.npy", self.mask, allow_pickle=False)
        self.text.flush()
        self.image.flush()

    def _set(self, column: int, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        (self.text, self.image)[column][rows] = vectors
        self.mask[rows, column] = vectors.any(axis=1)


def image_rows(items: pa.Table) -> NDArray[np.int64]:
    """Rows of the items that name an image."""
    return np.flatnonzero(items["image_path"].is_valid().to_numpy())


def _float16_file(path: Path, items: int, dim: int) -> np.memmap[Any, np.dtype[np.float16]]:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(items, dim))


def _note(file: TextIO, item_id: str, path: str, reason: UnusableImageError) -> None:
    file.write(json.dumps({"item_id": item_id, "path": path, "reason": str(reason)}, ensure_ascii=False) + "\n")
