"""What an encoder is, what `encoder.json` says of it, and how it is opened again for new items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from mmsc_cli.atomic import write_json
from mmsc_cli.errors import WorkspaceError

if TYPE_CHECKING:
    import torch
    from PIL import Image


class EncoderCard(BaseModel):
    """The content of `encoder.json`: which encoder made the embeddings, and what opens it again.

    `revision` is the commit of the hub's snapshot, or the version of our own classic features; null for a
    local checkpoint, which `weights_sha256` pins alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["classic", "open_clip"]
    revision: str | None
    text_dim: int
    image_dim: int
    weights_sha256: str
    architecture: str | None = None
    checkpoint: str | None = None
    adapter_sha256: str | None = None


class Encoder(Protocol):
    """Turns texts and images into vectors of unit length.

    A text or an image the encoder can say nothing of (no known word, say) becomes a zero row.
    """

    @property
    def name(self) -> str:
        """What `--encoder` calls it."""

    @property
    def text_dim(self) -> int:
        """Width of a text vector."""

    @property
    def image_dim(self) -> int:
        """Width of an image vector."""

    @property
    def shared_space(self) -> bool:
        """Whether a text vector and an image vector can be compared."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors of shape (texts, text_dim)."""

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return vectors of shape (images, image_dim); images are RGB."""

    def save(self, folder: Path) -> EncoderCard:
        """Write `encoder.json`, and every weight that is not to be had elsewhere, into `folder`."""


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


def open_encoder(folder: Path, *, device: Callable[[], torch.device], batch_size: int = 64) -> Encoder:
    """Open the encoder whose embeddings lie in `folder` (a workspace's `embeddings/`), its adapter included.

    `device` is asked only if the encoder needs torch; `classic` does not.

    Raises:
        WorkspaceError: a file is missing, damaged, or not the one the embeddings were made with.
        InputError: the architecture is unknown to the open_clip installed here.
        UnreachableError: its weights are not on this machine and the hub cannot be reached.
    """
    card = read_card(folder)
    encoder: Encoder
    if card.kind == "classic":
        from mmsc_cli.encode.classic import open_classic

        encoder = open_classic(folder, card)
    else:
        from mmsc_cli.encode.open_clip_encoder import reopen_open_clip

        encoder = reopen_open_clip(card, device=device(), batch_size=batch_size)
    if card.adapter_sha256 is None:
        return encoder
    from mmsc_cli.encode.adapter import AdaptedEncoder, open_adapter

    return AdaptedEncoder(encoder, open_adapter(folder, card.adapter_sha256))
