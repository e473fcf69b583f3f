"""What an encoder is, and `encoder.json`, which says how to open it again."""

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
# What the names of encoders begin with.
OPEN_CLIP = "open_clip:"
SENTENCE_TRANSFORMERS = "sentence-transformers:"


class EncoderCard(BaseModel):
    """The content of `encoder.json`: the encoder that made the embeddings.

    Attributes:
        name: its name, as `--encoder` takes it.
        kind: which class opens it.
        revision: the hub's commit, or the version of the classic features; None for a local checkpoint.
        text_dim: width of a text vector.
        image_dim: width of an image vector.
        joint_dim: width of a vector of text and image together; 0: there are none.
        weights_sha256: the sha256 of the weights.
        text_revision: the hub's commit of a tokenizer that is not beside the weights.
        architecture: the architecture of an open_clip model.
        checkpoint: the path of a local checkpoint.
        adapter: a projection over the frozen vectors, or low-rank matrices (lora) in the frozen towers.
        adapter_sha256: the sha256 of the adapter.
        truncate_dim: how many numbers of a vector of a sentence-transformers model are kept; None: all.
        prompt: what precedes each of its inputs; None: its own default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["classic", "open_clip", "sentence_transformers"]
    revision: str | None
    text_dim: int
    image_dim: int
    joint_dim: int = 0
    weights_sha256: str
    text_revision: str | None = None
    architecture: str | None = None
    checkpoint: str | None = None
    adapter: Literal["projection", "lora"] | None = None
    adapter_sha256: str | None = None
    truncate_dim: int | None = None
    prompt: str | None = None


class Encoder(ABC):
    """Turns texts and images into vectors of unit length, or into zero rows where it knows nothing of an input.

    Encoding has two steps: `tokens` and `pixels` prepare inputs in worker threads, `text_vectors` and `image_vectors`
    run on the device.

    Attributes:
        name: its name, as `--encoder` takes it.
        text_dim: width of a text vector.
        image_dim: width of an image vector.
        joint_dim: width of a vector of text and image together; 0: it makes none.
        shared_space: whether a text vector and an image vector can be compared.
        has_towers: whether low-rank matrices can be trained in it.
        reads_images: whether it encodes images.
        batch_size: how many inputs it encodes at a time.
    """

    name: str
    text_dim: int
    image_dim: int
    joint_dim: int = 0
    shared_space: bool = False
    has_towers: bool = False
    reads_images: bool = True
    batch_size: int = DEFAULT_BATCH

    def tokens(self, texts: Sequence[str]) -> Any:
        """Prepare texts."""
        return texts

    @abstractmethod
    def text_vectors(self, tokens: Any) -> NDArray[np.float32]:
        """Encode n prepared texts; returns (n, text_dim)."""

    @abstractmethod
    def pixels(self, image: Image.Image) -> NDArray[Any]:
        """Prepare an RGB image."""

    @abstractmethod
    def image_vectors(self, pixels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Encode n prepared images; returns (n, image_dim)."""

    def joint_vectors(self, texts: Sequence[str], pixels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:  # noqa: ARG002  most make none
        """Encode n texts and prepared images, each pair as one input; returns (n, joint_dim)."""
        return np.zeros((len(texts), self.joint_dim), np.float32)

    @abstractmethod
    def save(self, folder: Path) -> EncoderCard:
        """Write `encoder.json`, and the weights that mmsc itself fitted, into `folder`."""

    def width(self, modality: Literal["text", "image", "joint"]) -> int:
        """Return the width of the vectors of a modality."""
        return {"text": self.text_dim, "image": self.image_dim, "joint": self.joint_dim}[modality]

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts; returns (texts, text_dim)."""
        return self.text_vectors(self.tokens(texts))

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Encode RGB images; returns (images, image_dim)."""
        return self.image_vectors([self.pixels(image) for image in images])


def write_card(folder: Path, card: EncoderCard) -> EncoderCard:
    """Write `encoder.json` and return its content."""
    write_json(folder / "encoder.json", card.model_dump(mode="json"))
    return card


def read_card(folder: Path) -> EncoderCard:
    """Read `encoder.json`.

    Raises:
        WorkspaceError: the file is missing or damaged.
    """
    path = folder / "encoder.json"
    try:
        return EncoderCard.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise WorkspaceError(f"{path} is missing or damaged", hint="run `mmsc encode` again") from error
