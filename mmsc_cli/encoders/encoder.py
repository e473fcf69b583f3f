"""What an encoder is, what `encoder.json` says of it, and how it is opened again for new items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.atomic import write_json

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_BATCH = 64


class EncoderCard(BaseModel):
    """The content of `encoder.json`: which encoder made the embeddings, and what opens it again.

    `revision` is the commit of the hub's snapshot, or the version of our own classic features; null for a
    local checkpoint, which `weights_sha256` pins alone. `adapter` says what `adapter_sha256` is of: a projection
    over the frozen vectors, or low-rank matrices inside the frozen towers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["classic", "open_clip", "sentence_transformers"]
    revision: str | None
    text_dim: int
    image_dim: int
    weights_sha256: str
    architecture: str | None = None
    checkpoint: str | None = None
    adapter: Literal["projection", "lora"] | None = None
    adapter_sha256: str | None = None


class Encoder(ABC):
    """Turns texts and images into vectors of unit length.

    A text or an image the encoder can say nothing of (no known word, say) becomes a zero row. Encoding is cut
    in two: what can be done ahead in a worker thread (`tokens`, `pixels`), and what the device does.

    Attributes:
        name: what `--encoder` calls it.
        shared_space: whether a text vector and an image vector can be compared.
        batch_size: how many inputs go through it at a time.
        reads_images: whether it has anything to say of images.
    """

    name: str
    shared_space: bool
    batch_size: int = DEFAULT_BATCH
    reads_images: bool = True

    @property
    @abstractmethod
    def text_dim(self) -> int:
        """Width of a text vector."""

    @property
    @abstractmethod
    def image_dim(self) -> int:
        """Width of an image vector."""

    def tokens(self, texts: Sequence[str]) -> Any:
        """Prepare texts, in a worker thread."""
        return texts

    @abstractmethod
    def text_vectors(self, tokens: Any) -> NDArray[np.float32]:
        """Encode what `tokens` made of n texts; shape (n, text_dim)."""

    @abstractmethod
    def pixels(self, image: Image.Image) -> NDArray[Any]:
        """Prepare an RGB image, in a worker thread."""

    @abstractmethod
    def image_vectors(self, pixels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Encode what `pixels` made of n images; shape (n, image_dim)."""

    @abstractmethod
    def save(self, folder: Path) -> EncoderCard:
        """Write `encoder.json`, and every weight that is not to be had elsewhere, into `folder`."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors of shape (texts, text_dim)."""
        return self.text_vectors(self.tokens(texts))

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return vectors of shape (images, image_dim); images are RGB."""
        return self.image_vectors([self.pixels(image) for image in images])


def write_card(folder: Path, card: EncoderCard) -> EncoderCard:
    """Write `encoder.json`."""
    write_json(folder / "encoder.json", card.model_dump(mode="json"))
    return card


def read_card(folder: Path) -> EncoderCard:
    """Read `encoder.json`.

    Raises:
        WorkspaceError: it is missing or damaged.
    """
    path = folder / "encoder.json"
    try:
        return EncoderCard.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise WorkspaceError(f"{path} cannot be read as an encoder", hint="run `mmsc encode` again") from error
