"""The image and text towers of an open_clip model as an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors import SafetensorError
from torch.nn import functional as F
from torchvision.transforms import Compose

from mmsc_cli.arrays.rows import unit_rows
from mmsc_cli.encoders.batching import encode_by_length, encode_in_batches, fitting_batch, half_precision
from mmsc_cli.encoders.encoder import OPEN_CLIP, Encoder, EncoderCard, write_card
from mmsc_cli.encoders.lora import apply_lora, open_lora, save_lora
from mmsc_cli.encoders.open_clip_weights import LOCAL, OpenClipWeights, find_weights
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.runtime.installation import extra_command

# No token of open_clip's vocabularies is longer, so text beyond the context length times this is never read.
_LONGEST_TOKEN = 64
# Lengths are rounded up to a multiple, so that the device sees few shapes.
_LENGTH_STEP = 8
# What the configuration of a model may say of its tokenizer; anything else, such as trust_remote_code, it may not.
_TOKENIZER_OPTIONS = ("clean", "strip_sep_token", "language")


class OpenClipEncoder(Encoder):
    """Both towers of an open_clip model, frozen; text and image vectors share a space."""

    shared_space = has_towers = True

    def __init__(self, weights: OpenClipWeights, *, device: torch.device, batch_size: int | None) -> None:
        """Load the model onto `device`. `batch_size` None: as many inputs as fit.

        Raises:
            InputError: the checkpoint is damaged or of another architecture, or a package that it needs is missing.
        """
        self.name = weights.name
        self.weights = weights
        self.device = device
        self.precision = half_precision(device)
        self._lora: dict[str, torch.Tensor] = {}
        self.model, self._tokenize = _load(weights, device)
        preprocess = PreprocessCfg(**self.model.visual.preprocess_cfg)
        # Without the last two steps, to float and to mean 0: the device does them, as bytes are quicker to move.
        self._crop = Compose(image_transform_v2(preprocess, is_train=False).transforms[:-2])
        self._size = preprocess.input_size
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (preprocess.mean, preprocess.std)
        )
        self.text_dim = self.image_dim = int(weights.config["embed_dim"])
        self._context = int(self._tokenize.context_length)
        self._trims = _may_be_trimmed(self.model, self._tokenize)
        self.batch_size = fitting_batch(device, self._try) if batch_size is None else batch_size
        self._text_batch = self._image_batch = self.batch_size

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """Return token ids, (texts, context length); longer texts are cut off."""
        longest = self._context * _LONGEST_TOKEN
        ids: torch.Tensor = self._tokenize([text[:longest] for text in texts])
        return ids

    @torch.inference_mode()
    def text_vectors(self, tokens: torch.Tensor) -> NDArray[np.float32]:
        """Encode texts, each batch only as long as its longest text."""
        if not len(tokens):
            return np.zeros((0, self.text_dim), np.float32)
        # The position after the last token that is not padding.
        lengths = (tokens != 0).long().mul(torch.arange(1, tokens.shape[1] + 1)).amax(dim=1).numpy()

        def forward(texts: NDArray[np.int64]) -> torch.Tensor:
            longest = -(-int(lengths[texts].max()) // _LENGTH_STEP) * _LENGTH_STEP
            return self.encode_tokens(tokens[texts, :longest] if self._trims else tokens[texts])

        vectors, self._text_batch = encode_by_length(lengths, self._text_batch, self.device, forward)
        return unit_rows(vectors)

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an image as the model wants it, (3, height, width)."""
        return np.ascontiguousarray(np.asarray(self._crop(image)).transpose(2, 0, 1))

    @torch.inference_mode()
    def image_vectors(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Encode images."""
        if not pixels:
            return np.zeros((0, self.image_dim), np.float32)

        def forward(batch: slice) -> torch.Tensor:
            return self.encode_pixels(torch.from_numpy(np.stack(pixels[batch])))

        vectors, self._image_batch = encode_in_batches(len(pixels), self._image_batch, self.device, forward)
        return unit_rows(vectors)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Run the text tower over token ids, (n, up to the context length); returns unit vectors, (n, dim)."""
        tokens = self._onto_device(tokens)
        length = tokens.shape[1]
        with self.autocast():
            if length >= self._context or not self._trims:
                return F.normalize(self.model.encode_text(tokens).float(), dim=-1)
            # A causal tower that is pooled at the end-of-text token does not see the padding behind it.
            short = {
                "positional_embedding": self.model.positional_embedding[:length],
                "attn_mask": self.model.attn_mask[:length, :length],
            }
            outputs = torch.func.functional_call(self.model, short, kwargs={"text": tokens})
        vectors = outputs["text_features"] if isinstance(outputs, dict) else outputs[1]
        return F.normalize(vectors.float(), dim=-1)

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run the image tower over bytes, (n, 3, height, width); returns unit vectors, (n, dim)."""
        images = (self._onto_device(pixels).float() / 255 - self._mean) / self._std
        if self.device.type == "cuda":
            images = images.contiguous(memory_format=torch.channels_last)
        with self.autocast():
            return F.normalize(self.model.encode_image(images).float(), dim=-1)

    def adapt(self, matrices: dict[str, torch.Tensor]) -> None:
        """Add trained low-rank matrices to the towers; see `lora`."""
        apply_lora(self.model, matrices)
        self._lora = matrices

    def save(self, folder: Path) -> EncoderCard:
        """Write `encoder.json` and the adapter, if any; the weights stay where they are, pinned by their sha256."""
        return write_card(
            folder,
            EncoderCard(
                name=self.name,
                kind="open_clip",
                revision=self.weights.revision,
                text_dim=self.text_dim,
                image_dim=self.image_dim,
                weights_sha256=self.weights.sha256,
                text_revision=self.weights.text.revision if self.weights.text else None,
                architecture=None if self.weights.revision else self.weights.architecture,
                checkpoint=None if self.weights.revision else str(self.weights.checkpoint),
                adapter="lora" if self._lora else None,
                adapter_sha256=save_lora(folder, self._lora) if self._lora else None,
            ),
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of half precision, if the device is built for it."""
        return torch.autocast(self.device.type, dtype=self.precision) if self.precision else nullcontext()

    def _onto_device(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cuda":
            inputs = inputs.pin_memory()
        return inputs.to(self.device, non_blocking=True)

    def blank_inputs(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return black images and texts of full length, to measure memory and time."""
        pixels = torch.zeros((size, *self._size), dtype=torch.uint8)
        return pixels, torch.ones((size, self._context), dtype=torch.long)

    @torch.inference_mode()
    def _try(self, size: int) -> None:
        pixels, tokens = self.blank_inputs(size)
        self.encode_pixels(pixels)
        self.encode_tokens(tokens)


def reopen_open_clip(
    card: EncoderCard, folder: Path, *, device: torch.device, batch_size: int | None
) -> OpenClipEncoder:
    """Open the encoder of a card, with the same weights at the same commit of the hub.

    Raises:
        WorkspaceError: the weights have changed.
        InputError, UnreachableError: as `find_weights` and `OpenClipEncoder`.
    """
    name = card.name
    if card.checkpoint:
        is_folder = str(card.architecture).startswith(LOCAL)
        name = f"{OPEN_CLIP}{card.architecture}" + ("" if is_folder else f"/{card.checkpoint}")
    weights = find_weights(name, folder.resolve().parent, card.revision, card.text_revision)
    if weights.sha256 != card.weights_sha256:
        raise WorkspaceError(
            f"{weights.checkpoint} is not the checkpoint the embeddings were made with",
            hint="run `mmsc encode` again",
        )
    encoder = OpenClipEncoder(weights, device=device, batch_size=batch_size)
    if card.adapter == "lora" and card.adapter_sha256 is not None:
        encoder.adapt(open_lora(folder, card.adapter_sha256))
    return encoder


def _may_be_trimmed(model: Any, tokenize: Any) -> bool:
    """Return whether padding can be cut: of open_clip's plain CLIP with its own tokenizer, which pads with 0."""
    return (
        isinstance(model, open_clip.CLIP)
        and isinstance(tokenize, open_clip.SimpleTokenizer)
        and model.text_pool_type == "argmax"
        and model.attn_mask is not None
    )


def _load(weights: OpenClipWeights, device: torch.device) -> tuple[Any, Any]:
    is_known = weights.architecture in open_clip.list_models()
    try:
        model = open_clip.create_model(
            weights.architecture,
            pretrained=str(weights.checkpoint) if is_known else None,  # a folder has its weights with it
            device=device,
            **weights.overrides,
            **_text_tower(weights),
        )
        tokenize = _tokenizer(weights)
    except torch.OutOfMemoryError:
        raise
    except ImportError as error:
        raise InputError(f"--encoder {weights.name}: {_first_line(error)}", hint=extra_command("text")) from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(
            f"--encoder {weights.name}: {weights.checkpoint} cannot be loaded as {weights.architecture}: "
            f"{_first_line(error)}",
            hint="check that the checkpoint is complete and of this architecture",
        ) from error
    model = model.eval().requires_grad_(False)
    return model.to(memory_format=torch.channels_last) if device.type == "cuda" else model, tokenize


def _text_tower(weights: OpenClipWeights) -> dict[str, Any]:
    """Return arguments by which a text tower that is not open_clip's own is built from files on this machine."""
    text = weights.config["text_cfg"]
    if weights.text is None or not text.get("hf_model_name"):
        return {}
    return {"text_cfg": {**text, "hf_model_name": str(weights.text.folder), "hf_model_pretrained": False}}


def _tokenizer(weights: OpenClipWeights) -> Any:
    if weights.text is None:
        return open_clip.get_tokenizer(weights.architecture)
    text = weights.config["text_cfg"]
    kept = {name: value for name, value in text.get("tokenizer_kwargs", {}).items() if name in _TOKENIZER_OPTIONS}
    return open_clip.tokenizer.HFTokenizer(
        str(weights.text.folder),
        context_length=text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
        tokenizer_mode=text.get("tokenizer_mode"),
        **kept,
        trust_remote_code=False,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]
