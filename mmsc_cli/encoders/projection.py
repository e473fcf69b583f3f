"""The adapter: a residual projection per modality over frozen embeddings, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmsc_cli.arrays.rows import unit_rows
from mmsc_cli.encoders.encoder import Encoder, EncoderCard, write_card
from mmsc_cli.encoders.weights import read_weights, write_weights

_FILE = "adapter.safetensors"


@dataclass(frozen=True)
class Adapter:
    """`x -> (x + x W) / |x + x W|`, with W of shape (text_dim, text_dim) and (image_dim, image_dim)."""

    text: NDArray[np.float32]
    image: NDArray[np.float32]

    def adapt_texts(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Adapt text vectors, (n, text_dim); zero rows stay zero."""
        return unit_rows(rows + rows @ self.text)

    def adapt_images(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Adapt image vectors, (n, image_dim); zero rows stay zero."""
        return unit_rows(rows + rows @ self.image)

    def save(self, folder: Path) -> str:
        """Write `adapter.safetensors` and return its sha256."""
        return write_weights(folder / _FILE, {"text": self.text, "image": self.image})


def open_adapter(folder: Path, digest: str) -> Adapter:
    """Open a saved adapter.

    Raises:
        WorkspaceError: the file is missing, damaged, or not the one of this sha256.
    """
    weights = read_weights(folder / _FILE, digest, "mmsc encode --adapt")
    return Adapter(weights["text"], weights["image"])


class AdaptedEncoder(Encoder):
    """An encoder whose vectors go through an adapter."""

    def __init__(self, encoder: Encoder, adapter: Adapter) -> None:
        self._encoder = encoder
        self._adapter = adapter
        self.name, self.text_dim, self.image_dim = encoder.name, encoder.text_dim, encoder.image_dim
        self.shared_space, self.reads_images = encoder.shared_space, encoder.reads_images
        self.joint_dim = encoder.joint_dim
        self.batch_size = encoder.batch_size

    def tokens(self, texts: Sequence[str]) -> Any:
        """Prepare texts."""
        return self._encoder.tokens(texts)

    def text_vectors(self, tokens: Any) -> NDArray[np.float32]:
        """Encode and adapt prepared texts."""
        return self._adapter.adapt_texts(self._encoder.text_vectors(tokens))

    def pixels(self, image: Image.Image) -> NDArray[Any]:
        """Prepare an image."""
        return self._encoder.pixels(image)

    def image_vectors(self, pixels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Encode and adapt prepared images."""
        return self._adapter.adapt_images(self._encoder.image_vectors(pixels))

    def joint_vectors(self, texts: Sequence[str], pixels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Encode texts and images as one input; these vectors stay as the frozen encoder makes them."""
        return self._encoder.joint_vectors(texts, pixels)

    def save(self, folder: Path) -> EncoderCard:
        """Write the frozen encoder and the adapter."""
        adapter = {"adapter": "projection", "adapter_sha256": self._adapter.save(folder)}
        return write_card(folder, self._encoder.save(folder).model_copy(update=adapter))
