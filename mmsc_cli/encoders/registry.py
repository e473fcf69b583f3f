"""Choose an encoder by its name, and open one again for new items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsc_cli.encoders.encoder import DEFAULT_BATCH, OPEN_CLIP, SENTENCE_TRANSFORMERS, Encoder, read_card
from mmsc_cli.encoders.settings import EncoderSettings
from mmsc_cli.errors import InputError
from mmsc_cli.runtime.progress import Progress

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Choice:
    """An encoder that is not open yet.

    Attributes:
        identity: what decides its vectors, apart from the catalogue and the settings.
        open: opens it, given the batch size (None: as many inputs as fit) and a folder that keeps what it fits.
    """

    identity: Mapping[str, Any]
    open: Callable[[int | None, Path], Encoder]


def choose_encoder(
    items_path: Path,
    settings: EncoderSettings,
    *,
    workspace_root: Path,
    seed: int,
    device: Callable[[], torch.device],
    progress: Progress,
) -> Choice:
    """Find the encoder that the settings name.

    Raises:
        InputError: there is no such encoder, its checkpoint cannot be used, or an extra is missing.
        UnreachableError: its weights are not on this machine and the hub does not answer.
    """
    name = settings.encoder
    if not name.startswith(SENTENCE_TRANSFORMERS) and (settings.truncate_dim or settings.prompt):
        raise InputError(
            f"encode.truncate_dim and encode.prompt mean nothing to --encoder {name}",
            hint=f"leave them out, or use {SENTENCE_TRANSFORMERS}NAME",
        )
    if name == "classic":

        def open_or_fit(batch_size: int | None, fitted: Path) -> Encoder:
            from mmsc_cli.encoders.classic.classic import fit_on_catalogue, open_classic  # noqa: PLC0415  imports scikit-learn

            if not (fitted / "encoder.json").exists():
                encoder = fit_on_catalogue(items_path, settings, workspace_root, seed, progress)
                fitted.mkdir(exist_ok=True)
                encoder.save(fitted)
            encoder = open_classic(fitted, read_card(fitted))
            encoder.batch_size = batch_size or DEFAULT_BATCH
            return encoder

        return Choice({"kind": "classic"}, open_or_fit)
    if name.startswith(SENTENCE_TRANSFORMERS):
        from mmsc_cli.encoders.sentence_transformers import (  # noqa: PLC0415  imports torch
            SentenceEncoder,
            SentenceOptions,
            find_sentence_model,
        )

        model = find_sentence_model(name, workspace_root)
        options = SentenceOptions(settings.truncate_dim, settings.prompt)
        return Choice(
            {"kind": "sentence_transformers", "weights": model.sha256, "device": device().type},
            lambda batch_size, _: SentenceEncoder(model, options, device=device(), batch_size=batch_size),
        )
    if name != "auto" and not name.startswith(OPEN_CLIP):
        near = get_close_matches(name, ("auto", "classic"), n=1)
        raise InputError(
            f"--encoder {name}: there is no such encoder" + (f"; did you mean {near[0]}?" if near else ""),
            hint=f"use auto, classic, {OPEN_CLIP}ARCH/PRETRAINED, or {SENTENCE_TRANSFORMERS}NAME",
        )
    from mmsc_cli.encoders.open_clip import OpenClipEncoder  # noqa: PLC0415  imports torch and open_clip
    from mmsc_cli.encoders.open_clip_weights import DEFAULT, find_weights  # noqa: PLC0415  brings torch

    weights = find_weights(DEFAULT if name == "auto" else name, workspace_root)
    return Choice(
        {"kind": "open_clip", "weights": weights.sha256, "device": device().type},
        lambda batch_size, _: OpenClipEncoder(weights, device=device(), batch_size=batch_size),
    )


def open_encoder(
    folder: Path, *, device: Callable[[], torch.device], batch_size: int | None = DEFAULT_BATCH
) -> Encoder:
    """Open the encoder, with its adapter, that made the embeddings in `folder`.

    Args:
        folder: a workspace's `embeddings/`.
        device: chooses the device; called only if the encoder needs torch.
        batch_size: how many inputs to encode at a time; None: as many as fit.

    Raises:
        WorkspaceError: a file is missing, damaged, or not the one that made the embeddings.
        InputError: the installed open_clip does not know the architecture, or an extra is missing.
        UnreachableError: its weights are not on this machine and the hub does not answer.
    """
    card = read_card(folder)
    encoder: Encoder
    if card.kind == "classic":
        from mmsc_cli.encoders.classic.classic import open_classic  # noqa: PLC0415  imports scikit-learn

        encoder = open_classic(folder, card)
    elif card.kind == "sentence_transformers":
        from mmsc_cli.encoders.sentence_transformers import reopen_sentence_encoder  # noqa: PLC0415  imports torch

        encoder = reopen_sentence_encoder(card, folder.resolve().parent, device=device(), batch_size=batch_size)
    else:
        from mmsc_cli.encoders.open_clip import reopen_open_clip  # noqa: PLC0415  imports torch and open_clip

        encoder = reopen_open_clip(card, folder, device=device(), batch_size=batch_size)
    if card.adapter != "projection" or card.adapter_sha256 is None:
        return encoder
    from mmsc_cli.encoders.projection import AdaptedEncoder, open_adapter  # noqa: PLC0415  brings safetensors

    return AdaptedEncoder(encoder, open_adapter(folder, card.adapter_sha256))
