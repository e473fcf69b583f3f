"""The classic encoder: fitted on the catalogue itself, without a download and without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from mmsc_cli.encoders.classic.image import STATISTICS, ImageStatistics, fit_images, image_statistics
from mmsc_cli.encoders.classic.text import LatentSemanticText, fit_text
from mmsc_cli.encoders.encoder import Encoder, EncoderCard, write_card
from mmsc_cli.encoders.settings import EncoderSettings
from mmsc_cli.encoders.weights import read_weights, write_weights
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.files.images import UnusableImageError, load_image
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.parallel import map_in_threads
from mmsc_cli.runtime.progress import Progress
from mmsc_cli.runtime.seeds import derive_seed, numpy_generator
from mmsc_cli.tables.items import TEXT_COLUMNS, count_items, full_text, item_batches, take_items

NAME = "classic"
REVISION = "1"
# The encoder is fitted on a sample of this size, so that memory does not grow with the catalogue.
FIT_TEXTS = 25_000
FIT_IMAGES = 4_096
_WEIGHTS, _TERMS = "classic.safetensors", "classic.json"
FILES = (_WEIGHTS, _TERMS, "encoder.json")


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


def open_classic(folder: Path, card: EncoderCard) -> ClassicEncoder:
    """Open a saved encoder.

    Raises:
        WorkspaceError: its files are missing or damaged, or made by another revision of the features.
    """
    hint = "run `mmsc encode` again"
    if card.revision != REVISION:
        raise WorkspaceError(
            f"{folder} was made with revision {card.revision} of the classic encoder, this is {REVISION}", hint=hint
        )
    arrays = read_weights(folder / _WEIGHTS, card.weights_sha256, "mmsc encode")
    try:
        terms = json.loads((folder / _TERMS).read_bytes())
        text = LatentSemanticText(terms, arrays["text.idf"], arrays["text.projection"])
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"{folder / _TERMS} is damaged: {error}", hint=hint) from error
    return ClassicEncoder(
        text, ImageStatistics(arrays["image.centre"], arrays["image.scale"], arrays["image.projection"])
    )


def fit_on_catalogue(
    items_path: Path, settings: EncoderSettings, workspace_root: Path, seed: int, progress: Progress
) -> ClassicEncoder:
    """Fit the encoder on a sample of a catalogue's texts and images.

    Args:
        items_path: the item table.
        settings: the widths of the vectors; they are less if the sample has a lower rank.
        workspace_root: the folder that each `image_path` is relative to.
        seed: the seed of the run.
        progress: shows the images read.
    """
    # Before the limit below, which holds for the libraries that are loaded: scipy brings a BLAS of its own.
    import sklearn.decomposition  # noqa: F401, PLC0415  slow to import, and nights that fit nothing need it not

    rng = numpy_generator(seed, "encode/sample")
    texts = _sample_texts(items_path, rng)
    statistics = _sample_images(items_path, workspace_root, rng, progress)
    seed_32 = derive_seed(seed, "encode/classic") % 2**32  # scikit-learn takes 32 bits
    # A BLAS with several threads sums in another order, so the axes would depend on the machine. Most of the time goes
    # into sparse products, which run on one thread anyway.
    with threadpool_limits(1, "blas"):
        return ClassicEncoder(
            fit_text(texts, settings.text_dim, seed_32), fit_images(statistics, settings.image_dim, seed_32)
        )


def _sample_texts(items_path: Path, rng: np.random.Generator) -> list[str]:
    rows = _sample(np.arange(count_items(items_path)), FIT_TEXTS, rng)
    return [text for table in take_items(items_path, TEXT_COLUMNS, rows) for text in full_text(table) if text.strip()]


def _sample_images(
    items_path: Path, workspace_root: Path, rng: np.random.Generator, progress: Progress
) -> NDArray[np.float32]:
    """Return the statistics of a sample of the images that can be used, (images, STATISTICS)."""
    tables = item_batches(items_path, ["image_path"], 0, count_items(items_path))
    named = np.concatenate([np.zeros(0, np.bool_), *(table["image_path"].is_valid().to_numpy() for table in tables)])
    rows = _sample(np.flatnonzero(named), FIT_IMAGES, rng)
    paths = [path for table in take_items(items_path, ["image_path"], rows) for path in table["image_path"].to_pylist()]

    def load(path: str) -> NDArray[np.float32] | None:
        try:
            return image_statistics(load_image(workspace_root, path))
        except UnusableImageError:
            return None

    usable = [np.zeros((0, STATISTICS), np.float32)]
    with progress.task("fitting on a sample of images", total=len(paths)) as task:
        for statistics in map_in_threads(load, paths, ahead=128):
            task.advance()
            if statistics is not None:
                usable.append(statistics[None])
    return np.concatenate(usable)


def _sample(rows: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rows if len(rows) <= size else np.sort(rng.choice(rows, size, replace=False))
