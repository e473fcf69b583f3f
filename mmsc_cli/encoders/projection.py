"""The adapter: a small residual projection per modality over frozen embeddings, applied with numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from mmsc_cli.arrays.rows import unit_rows
from mmsc_cli.encoders.encoder import Encoder, EncoderCard, write_card
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.workspace.checksums import digest

_WEIGHTS = "adapter.safetensors"


@dataclass(frozen=True)
class Adapter:
    """`x -> (x + x W) / |x + x W|`, with W of shape (text_dim, text_dim) and (image_dim, image_dim)."""

    text: NDArray[np.float32]
    image: NDArray[np.float32]

    def adapt_texts(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Adapt text vectors of shape (n, text_dim); zero rows stay zero."""
        return unit_rows(rows + rows @ self.text)

    def adapt_images(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Adapt image vectors of shape (n, image_dim); zero rows stay zero."""
        return unit_rows(rows + rows @ self.image)

    def save(self, folder: Path) -> str:
        """Write `adapter.safetensors` and return its sha256."""
        with atomic_write(folder / _WEIGHTS) as file:
            file.write(save({"text": self.text, "image": self.image}))
        return digest(folder / _WEIGHTS)


def open_adapter(folder: Path, sha256: str) -> Adapter:
    """Open a saved adapter.

    Raises:
        WorkspaceError: it is missing, damaged, or not the one the embeddings were made with.
    """
    path = folder / _WEIGHTS
    try:
        if digest(path) != sha256:
            raise WorkspaceError(f"{path} is not the one encoder.json names", hint="run `mmsc encode --adapt` again")
        weights = load_file(path)
        return Adapter(weights["text"], weights["image"])
    except (OSError, KeyError, SafetensorError) as error:
        raise WorkspaceError(f"{path} is damaged: {error}", hint="run `mmsc encode --adapt` again") from error


class AdaptedEncoder(Encoder):
    """An encoder whose vectors go through an adapter."""

    def __init__(self, encoder: Encoder, adapter: Adapter) -> None:
        """Take the frozen encoder and the adapter trained over it."""
        self._encoder = encoder
        self._adapter = adapter
        self.name, self.shared_space = encoder.name, encoder.shared_space
        self.batch_size, self.reads_images = encoder.batch_size, encoder.reads_images

    @property
    def text_dim(self) -> int:
        """Width of a text vector."""
        return self._encoder.text_dim

    @property
    def image_dim(self) -> int:
        """Width of an image vector."""
        return self._encoder.image_dim

    def tokens(self, texts: Sequence[str]) -> Any:
        """Prepare texts."""
        return self._encoder.tokens(texts)

    def text_vectors(self, tokens: Any) -> NDArray[np.float32]:
        """Encode texts, adapted."""
        return self._adapter.adapt_texts(self._encoder.text_vectors(tokens))

    def pixels(self, image: Image.Image) -> NDArray[Any]:
        """Prepare an image."""
        return self._encoder.pixels(image)

    def image_vectors(self, pixels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Encode images, adapted."""
        return self._adapter.adapt_images(self._encoder.image_vectors(pixels))

    def save(self, folder: Path) -> EncoderCard:
        """Write the frozen encoder and, apart from it, the adapter."""
        card = self._encoder.save(folder)
        return write_card(
            folder, card.model_copy(update={"adapter": "projection", "adapter_sha256": self._adapter.save(folder)})
        )
