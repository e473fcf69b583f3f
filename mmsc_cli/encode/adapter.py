"""The adapter: a small residual projection per modality over frozen embeddings, applied with numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from mmsc_cli.atomic import atomic_write
from mmsc_cli.encode.encoder import Encoder, EncoderCard, write_card
from mmsc_cli.encode.vectors import unit_rows
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.workspace import digest

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


class AdaptedEncoder:
    """An encoder whose vectors go through an adapter."""

    def __init__(self, encoder: Encoder, adapter: Adapter) -> None:
        """Take the frozen encoder and the adapter trained over it."""
        self._encoder = encoder
        self._adapter = adapter

    @property
    def name(self) -> str:
        """The frozen encoder's name."""
        return self._encoder.name

    @property
    def text_dim(self) -> int:
        """Width of a text vector."""
        return self._encoder.text_dim

    @property
    def image_dim(self) -> int:
        """Width of an image vector."""
        return self._encoder.image_dim

    @property
    def shared_space(self) -> bool:
        """Whether a text vector and an image vector can be compared."""
        return self._encoder.shared_space

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return adapted vectors of shape (texts, text_dim)."""
        return self._adapter.adapt_texts(self._encoder.encode_texts(texts))

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return adapted vectors of shape (images, image_dim)."""
        return self._adapter.adapt_images(self._encoder.encode_images(images))

    def save(self, folder: Path) -> EncoderCard:
        """Write the frozen encoder and, apart from it, the adapter."""
        card = self._encoder.save(folder)
        return write_card(folder, card.model_copy(update={"adapter_sha256": self._adapter.save(folder)}))
