"""The classic encoder: fitted on the catalogue itself, without a download and without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from mmsc_cli.encoders.classic_image import ImageStatistics, fit_images, image_statistics
from mmsc_cli.encoders.classic_text import LatentSemanticText, fit_text
from mmsc_cli.encoders.encoder import Encoder, EncoderCard, write_card
from mmsc_cli.encoders.weights import read_weights, write_weights
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.seeds import derive_seed

NAME = "classic"
REVISION = "1"
_WEIGHTS, _TERMS = "classic.safetensors", "classic.json"


class ClassicEncoder(Encoder):
    """TF-IDF and a truncated SVD for texts, colour and gradient statistics for images."""

    name = NAME

    def __init__(self, text: LatentSemanticText, image: ImageStatistics) -> None:
        self._text = text
        self._image = image
        self.text_dim, self.image_dim = text.dim, image.dim

    def text_vectors(self, tokens: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts; zero rows where no word is known."""
        return self._text.encode(tokens)

    def pixels(self, image: Image.Image) -> NDArray[np.float32]:
        """Compute the statistics of an image."""
        return image_statistics(image)

    def image_vectors(self, pixels: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Encode images by their statistics."""
        return self._image.encode(pixels)

    def save(self, folder: Path) -> EncoderCard:
        """Write `encoder.json`, the arrays as safetensors and the vocabulary as JSON."""
        arrays = {
            "text.idf": self._text.idf,
            "text.projection": self._text.projection,
            "image.centre": self._image.centre,
            "image.scale": self._image.scale,
            "image.projection": self._image.projection,
        }
        write_json(folder / _TERMS, self._text.terms)
        return write_card(
            folder,
            EncoderCard(
                name=NAME,
                kind="classic",
                revision=REVISION,
                text_dim=self.text_dim,
                image_dim=self.image_dim,
                weights_sha256=write_weights(folder / _WEIGHTS, arrays),
            ),
        )


def fit_classic(
    texts: Sequence[str], image_statistics: NDArray[np.float32], *, text_dim: int, image_dim: int, seed: int
) -> ClassicEncoder:
    """Fit both halves on (a sample of) the catalogue.

    Args:
        texts: non-empty texts.
        image_statistics: (images, STATISTICS), see `classic_image.image_statistics`.
        text_dim: width of a text vector; less if the rank of the texts is less.
        image_dim: width of an image vector; less if the rank of the images is less.
        seed: the seed of the run.
    """
    narrow = derive_seed(seed, "encode/classic") % 2**32  # scikit-learn takes 32 bits
    # A BLAS with several threads sums in another order, so the axes would depend on the machine. Most of the time goes
    # into sparse products, which run on one thread anyway.
    with threadpool_limits(1, "blas"):
        return ClassicEncoder(fit_text(texts, text_dim, narrow), fit_images(image_statistics, image_dim, narrow))


def open_classic(folder: Path, card: EncoderCard) -> ClassicEncoder:
    """Open a saved encoder.

    Raises:
        WorkspaceError: its files are missing or damaged, or made by another revision of the features.
    """
    if card.revision != REVISION:
        raise WorkspaceError(
            f"{folder} was made with revision {card.revision} of the classic encoder, this is {REVISION}",
            hint="run `mmsc encode` again",
        )
    try:
        terms = json.loads((folder / _TERMS).read_bytes())
        arrays = read_weights(folder / _WEIGHTS, card.weights_sha256, "mmsc encode")
        text = LatentSemanticText(terms, arrays["text.idf"], arrays["text.projection"])
        image = ImageStatistics(arrays["image.centre"], arrays["image.scale"], arrays["image.projection"])
    except (OSError, ValueError, KeyError) as error:
        raise WorkspaceError(
            f"the classic encoder in {folder} is damaged: {error}", hint="run `mmsc encode` again"
        ) from error
    return ClassicEncoder(text, image)
