"""Which encoder `--encoder` means, and what decides the vectors it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.encoders.encoder import DEFAULT_BATCH, Encoder, read_card
from mmsc_cli.encoders.sentence_transformers import SENTENCE_PREFIX
from mmsc_cli.encoders.settings import EncoderSettings
from mmsc_cli.errors import InputError
from mmsc_cli.files.images import UnusableImageError, load_image
from mmsc_cli.runtime.parallel import map_in_threads
from mmsc_cli.runtime.progress import Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.items import TEXT_COLUMNS, count_items, full_text, item_batches, take_items

if TYPE_CHECKING:
    import torch


def open_encoder(
    folder: Path, *, device: Callable[[], torch.device], batch_size: int | None = DEFAULT_BATCH
) -> Encoder:
    """Open the encoder whose embeddings lie in `folder` (a workspace's `embeddings/`), its adapter included.

    `device` is asked only if the encoder needs torch; `classic` does not. `batch_size` None: as much as fits.

    Raises:
        WorkspaceError: a file is missing, damaged, or not the one the embeddings were made with.
        InputError: the architecture is unknown to the open_clip installed here, or an extra is missing.
        UnreachableError: its weights are not on this machine and the hub cannot be reached.
    """
    card = read_card(folder)
    encoder: Encoder
    if card.kind == "classic":
        from mmsc_cli.encoders.classic import open_classic

        encoder = open_classic(folder, card)
    elif card.kind == "sentence_transformers":
        from mmsc_cli.encoders.sentence_transformers import reopen_sentence_encoder

        encoder = reopen_sentence_encoder(card, device=device(), batch_size=batch_size)
    else:
        from mmsc_cli.encoders.open_clip import reopen_open_clip

        encoder = reopen_open_clip(card, folder, device=device(), batch_size=batch_size)
    if card.adapter != "projection" or card.adapter_sha256 is None:
        return encoder
    from mmsc_cli.encoders.projection import AdaptedEncoder, open_adapter

    return AdaptedEncoder(encoder, open_adapter(folder, card.adapter_sha256))


# What the classic encoder is fitted on at most, so that memory does not follow the catalogue.
FIT_TEXTS = 25_000
FIT_IMAGES = 4_096


@dataclass(frozen=True)
class Choice:
    """An encoder that is not opened yet.

    Attributes:
        identity: what decides its vectors, apart from the catalogue and the settings.
        open: opens it, with this many inputs at a time (None: what fits), and a folder where it may keep what it fits.
    """

    identity: Mapping[str, Any]
    open: Callable[[int | None, Path], Encoder]


def choose_encoder(
    items: Path,
    settings: EncoderSettings,
    *,
    workspace_root: Path,
    seed: int,
    device: Callable[[], torch.device],
    progress: Progress,
) -> Choice:
    """Resolve the recipe's encoder.

    Raises:
        InputError: there is no such encoder, or its checkpoint cannot be used, or an extra is missing.
        UnreachableError: its weights are not on this machine and the hub does not answer.
    """
    name = settings.encoder
    if name == "classic":

        def classic(batch_size: int | None, kept: Path) -> Encoder:
            encoder = _classic(items, settings, workspace_root, seed, kept, progress)
            encoder.batch_size = batch_size or DEFAULT_BATCH
            return encoder

        return Choice({"kind": "classic"}, classic)
    if name.startswith(SENTENCE_PREFIX):
        from mmsc_cli.encoders.sentence_transformers import SentenceEncoder, find_sentence_model

        model = find_sentence_model(name)
        return Choice(
            {"kind": "sentence_transformers", "weights": model.sha256, "device": device().type},
            lambda batch_size, _: SentenceEncoder(model, device=device(), batch_size=batch_size),
        )
    if name != "auto" and not name.startswith("open_clip:"):
        near = get_close_matches(name, ("auto", "classic"), n=1)
        raise InputError(
            f"--encoder {name}: there is no such encoder" + (f"; did you mean {near[0]}?" if near else ""),
            hint=f"use auto, classic, open_clip:ARCH/PRETRAINED, or {SENTENCE_PREFIX}NAME",
        )
    from mmsc_cli.encoders.open_clip import OpenClipEncoder
    from mmsc_cli.encoders.open_clip_weights import DEFAULT, find_weights

    weights = find_weights(DEFAULT if name == "auto" else name)
    return Choice(
        {"kind": "open_clip", "weights": weights.sha256, "device": device().type},
        lambda batch_size, _: OpenClipEncoder(weights, device=device(), batch_size=batch_size),
    )


def _classic(
    items: Path, settings: EncoderSettings, workspace_root: Path, seed: int, kept: Path, progress: Progress
) -> Encoder:
    """Fit the classic encoder on (a sample of) the catalogue, or open the one that was fitted on it before."""
    from mmsc_cli.encoders.classic import fit_classic, open_classic
    from mmsc_cli.encoders.encoder import read_card

    if (kept / "encoder.json").exists():
        return open_classic(kept, read_card(kept))
    rng = numpy_generator(seed, "encode/sample")
    texts = _sample_texts(items, rng)
    statistics = _sample_images(items, workspace_root, rng, progress)
    encoder = fit_classic(texts, statistics, text_dim=settings.text_dim, image_dim=settings.image_dim, seed=seed)
    kept.mkdir(exist_ok=True)
    encoder.save(kept)
    return encoder


def _sample_texts(items: Path, rng: np.random.Generator) -> list[str]:
    rows = _sample(np.arange(count_items(items)), FIT_TEXTS, rng)
    return [text for table in take_items(items, TEXT_COLUMNS, rows) for text in full_text(table) if text.strip()]


def _sample_images(
    items: Path, workspace_root: Path, rng: np.random.Generator, progress: Progress
) -> NDArray[np.float32]:
    from mmsc_cli.encoders.classic_image import STATISTICS, image_statistics

    batches = item_batches(items, ["image_path"], 0, count_items(items))
    named = np.concatenate([np.zeros(0, np.bool_), *(batch["image_path"].is_valid().to_numpy() for batch in batches)])
    rows = _sample(np.flatnonzero(named), FIT_IMAGES, rng)
    paths = [path for table in take_items(items, ["image_path"], rows) for path in table["image_path"].to_pylist()]

    def load(path: str) -> NDArray[np.float32] | None:
        try:
            return image_statistics(load_image(workspace_root, path))
        except UnusableImageError:
            return None

    statistics = []
    with progress.task("fitting on a sample of images", total=len(paths)) as task:
        for one in map_in_threads(load, paths, ahead=128):
            task.advance()
            if one is not None:
                statistics.append(one)
    return np.stack(statistics) if statistics else np.zeros((0, STATISTICS), np.float32)


def _sample(rows: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rows if len(rows) <= size else np.sort(rng.choice(rows, size, replace=False))
