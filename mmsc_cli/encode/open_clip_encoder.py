"""open_clip's image and text towers as an encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors import SafetensorError

from mmsc_cli.encode.encoder import EncoderCard, write_card
from mmsc_cli.encode.open_clip_weights import OpenClipWeights, find_weights
from mmsc_cli.encode.vectors import unit_rows
from mmsc_cli.errors import InputError, UnreachableError, WorkspaceError
from mmsc_cli.workspace import digest

Input = TypeVar("Input", str, Image.Image)


class OpenClipEncoder:
    """Both towers of an open_clip model, frozen; text and image vectors lie in one space."""

    shared_space = True

    def __init__(self, weights: OpenClipWeights, *, device: torch.device, batch_size: int) -> None:
        """Load the model onto `device`; both kinds of input go through it `batch_size` at a time.

        Raises:
            InputError: the checkpoint is damaged or is not of this architecture, or a package it needs is
            missing. UnreachableError: the architecture takes its tokenizer from the hub, which does not
            answer.
        """
        self.name = weights.name
        self._weights = weights
        self._device = device
        self._batch_size = batch_size
        self._model, self._tokenize = _load(weights, device)
        self._preprocess = image_transform_v2(PreprocessCfg(**self._model.visual.preprocess_cfg), is_train=False)
        self._dim = int(open_clip.get_model_config(weights.architecture)["embed_dim"])

    @property
    def text_dim(self) -> int:
        """Width of a text vector."""
        return self._dim

    @property
    def image_dim(self) -> int:
        """Width of an image vector."""
        return self._dim

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors of shape (texts, text_dim); beyond the model's context length a text is cut off."""
        return self._encode(texts, lambda batch: self._tokenize(list(batch)), self._model.encode_text)

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return vectors of shape (images, image_dim)."""

        def pixels(batch: Sequence[Image.Image]) -> torch.Tensor:
            return torch.stack([self._preprocess(image) for image in batch])

        return self._encode(images, pixels, self._model.encode_image)

    def save(self, folder: Path) -> EncoderCard:
        """Write `encoder.json`; the weights stay where they are, pinned by their hash."""
        return write_card(
            folder,
            EncoderCard(
                name=self.name,
                kind="open_clip",
                revision=self._weights.revision,
                text_dim=self.text_dim,
                image_dim=self.image_dim,
                weights_sha256=digest(self._weights.checkpoint),
                architecture=self._weights.architecture,
                checkpoint=None if self._weights.revision else str(self._weights.checkpoint),
            ),
        )

    @torch.inference_mode()
    def _encode(
        self,
        inputs: Sequence[Input],
        prepare: Callable[[Sequence[Input]], torch.Tensor],
        tower: Callable[[torch.Tensor], torch.Tensor],
    ) -> NDArray[np.float32]:
        vectors = np.zeros((len(inputs), self._dim), np.float32)
        for start, batch in _batches(inputs, self._batch_size):
            with self._autocast():
                encoded = tower(prepare(batch).to(self._device, non_blocking=True))
            vectors[start : start + len(batch)] = encoded.float().cpu().numpy()
        return unit_rows(vectors)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._device.type != "cuda":
            return nullcontext()
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.autocast("cuda", dtype=dtype)


def reopen_open_clip(card: EncoderCard, *, device: torch.device, batch_size: int) -> OpenClipEncoder:
    """Open the encoder a card names, with the weights it was made with.

    Raises:
        WorkspaceError: the weights found are others.
        InputError, UnreachableError: as `find_weights` and `OpenClipEncoder`.
    """
    name = f"open_clip:{card.architecture}/{card.checkpoint}" if card.checkpoint else card.name
    weights = find_weights(name)
    if digest(weights.checkpoint) != card.weights_sha256:
        raise WorkspaceError(
            f"{weights.checkpoint} is not the checkpoint the embeddings were made with",
            hint="run `mmsc encode` again",
        )
    return OpenClipEncoder(weights, device=device, batch_size=batch_size)


def _load(weights: OpenClipWeights, device: torch.device) -> tuple[Any, Any]:
    try:
        model = open_clip.create_model(
            weights.architecture, pretrained=str(weights.checkpoint), device=device, **weights.overrides
        )
        return model.eval().requires_grad_(False), open_clip.get_tokenizer(weights.architecture)
    except torch.OutOfMemoryError:
        raise
    except OSError as error:
        raise UnreachableError(
            f"--encoder {weights.name}: {weights.architecture} needs files of the hub that are not here "
            f"({_first_line(error)})",
            hint="choose one with open_clip's own tokenizer, such as ViT-B-32, or use --encoder classic",
        ) from error
    except (RuntimeError, ImportError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(
            f"--encoder {weights.name}: {weights.checkpoint} cannot be loaded as {weights.architecture}: "
            f"{_first_line(error)}",
            hint="check that the checkpoint is whole and of this architecture",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]


def _batches(inputs: Sequence[Input], size: int) -> Iterator[tuple[int, Sequence[Input]]]:
    for start in range(0, len(inputs), size):
        yield start, inputs[start : start + size]
