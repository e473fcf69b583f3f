"""The stage: items become `embeddings/`."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from mmsc_cli.encode.catalogue_embeddings import IMAGE, TEXT, CatalogueEmbeddings, image_rows
from mmsc_cli.encode.encoder import Encoder
from mmsc_cli.encode.images import load_ahead
from mmsc_cli.errors import InputError
from mmsc_cli.items import full_text, item_splits
from mmsc_cli.pairs import Pairs
from mmsc_cli.progress import SILENT, Progress
from mmsc_cli.recipe.settings import EncodeSettings
from mmsc_cli.seeds import numpy_generator

if TYPE_CHECKING:
    import torch

# What the classic encoder is fitted on at most, so that memory does not follow the catalogue.
FIT_TEXTS = 100_000
FIT_IMAGES = 4_096


def encode(
    items: pa.Table,
    pairs: Pairs,
    settings: EncodeSettings,
    *,
    workspace_root: Path,
    out: Path,
    failures: Path,
    seed: int,
    device: Callable[[], torch.device],
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Encode a catalogue.

    Writes into `out`: `text.npy` (items, text_dim) and `image.npy` (items, image_dim), float16, rows of unit
    length or, where the mask says so, zero; `mask.npy` (items, 2) bool, text and image; `encoder.json` and
    what else it takes to open the encoder again. The mask is false where there is no text (no usable image),
    and where the encoder can say nothing of it, such as a text without a known word: a row is of unit length
    if and only if the mask is true.

    Args:
        items: the item table.
        pairs: the pair table; read for `settings.adapt` alone, and of it the training pairs alone.
        settings: the recipe's `[encode]`.
        workspace_root: where `image_path` starts.
        out: an existing, empty folder.
        failures: where to write the images that could not be used, as JSON lines; not made if there are none.
        seed: the run's seed.
        device: chooses the device; called only if torch is needed.
        progress: who watches.

    Returns:
        Counts for the manifest.

    Raises:
        InputError: unknown encoder, unusable checkpoint, or nothing to adapt to.
        UnreachableError: the weights are not on this machine and the hub does not answer.
    """
    encoder = _encoder(items, settings, workspace_root, seed, device, progress)
    embeddings = CatalogueEmbeddings(out, len(items), encoder)
    embeddings.write_texts(items, encoder, progress)
    failed = embeddings.write_images(items, encoder, workspace_root, failures, settings.batch_size, progress)
    counts: dict[str, Any] = {
        "items": len(items),
        "texts": int(embeddings.mask[:, TEXT].sum()),
        "images": int(embeddings.mask[:, IMAGE].sum()),
        "images_missing": len(items) - len(image_rows(items)),
        "images_failed": failed,
        "encoder": encoder.name,
        "text_dim": encoder.text_dim,
        "image_dim": encoder.image_dim,
    }
    if settings.adapt:
        encoder, counts["adapt"] = _adapt(items, pairs, encoder, embeddings, seed, device, progress)
    encoder.save(out)
    embeddings.close()
    return counts


def _encoder(
    items: pa.Table,
    settings: EncodeSettings,
    workspace_root: Path,
    seed: int,
    device: Callable[[], torch.device],
    progress: Progress,
) -> Encoder:
    if settings.encoder == "classic":
        return _fit_classic(items, settings, workspace_root, seed, progress)
    if settings.encoder != "auto" and not settings.encoder.startswith("open_clip:"):
        near = get_close_matches(settings.encoder, ("auto", "classic"), n=1)
        raise InputError(
            f"--encoder {settings.encoder}: there is no such encoder" + (f"; did you mean {near[0]}?" if near else ""),
            hint="use auto, classic, or open_clip:ARCH/PRETRAINED",
        )
    from mmsc_cli.encode.open_clip_encoder import OpenClipEncoder
    from mmsc_cli.encode.open_clip_weights import DEFAULT, find_weights

    weights = find_weights(DEFAULT if settings.encoder == "auto" else settings.encoder)
    return OpenClipEncoder(weights, device=device(), batch_size=settings.batch_size)


def _fit_classic(
    items: pa.Table, settings: EncodeSettings, workspace_root: Path, seed: int, progress: Progress
) -> Encoder:
    from mmsc_cli.encode.classic import fit_classic
    from mmsc_cli.encode.classic_image import STATISTICS, image_statistics

    rng = numpy_generator(seed, "encode/sample")
    text_rows = _sample(np.arange(len(items)), FIT_TEXTS, rng)
    texts = [text for text in full_text(items.take(text_rows)) if text.strip()]
    paths = items["image_path"].take(_sample(image_rows(items), FIT_IMAGES, rng)).to_pylist()
    statistics = np.zeros((len(paths), STATISTICS), np.float32)
    fitted = 0
    with progress.task("fitting on a sample of images", total=len(paths)) as task:
        for batch in load_ahead(workspace_root, paths, settings.batch_size):
            for image in batch:
                if isinstance(image, Image.Image):
                    statistics[fitted] = image_statistics(image)
                    fitted += 1
            task.advance(len(batch))
    return fit_classic(texts, statistics[:fitted], text_dim=settings.text_dim, image_dim=settings.image_dim, seed=seed)


def _sample(rows: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rows if len(rows) <= size else np.sort(rng.choice(rows, size, replace=False))


def _adapt(
    items: pa.Table,
    pairs: Pairs,
    encoder: Encoder,
    embeddings: CatalogueEmbeddings,
    seed: int,
    device: Callable[[], torch.device],
    progress: Progress,
) -> tuple[Encoder, dict[str, Any]]:
    """Train an adapter on what was encoded, put it over the encoder, and rewrite the rows."""
    from mmsc_cli.encode.adapt import FrozenEmbeddings, train_adapter
    from mmsc_cli.encode.adapter import AdaptedEncoder

    frozen = FrozenEmbeddings(embeddings.text, embeddings.image, embeddings.mask, encoder.shared_space)
    warm = item_splits(items) == "warm"
    result = train_adapter(frozen, pairs, warm, seed=seed, device=device(), progress=progress)
    embeddings.adapt(result.adapter)
    report = {"pairs": result.pairs, "best_epoch": result.best_epoch, "valid_losses": result.valid_losses}
    return AdaptedEncoder(encoder, result.adapter), report
