"""A sentence-transformers model as an encoder: of texts, and of images and of both together where it can."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mmsc_cli.arrays.rows import unit_rows
from mmsc_cli.encoders.batching import encode_by_length, encode_in_batches, half_precision
from mmsc_cli.encoders.encoder import DEFAULT_BATCH, SENTENCE_TRANSFORMERS, Encoder, EncoderCard, write_card
from mmsc_cli.encoders.model_folder import ModelFolder, brings_code, hub_folder, local_folder
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.runtime.installation import extra_command

LOCAL_OPTION = f"--encoder {SENTENCE_TRANSFORMERS}PATH"
_OWN_MODULES = "sentence_transformers."
_JOINT = ("image", "text")


def find_sentence_model(name: str, workspace_root: Path, revision: str | None = None) -> ModelFolder:
    """Find the folder of `sentence-transformers:NAME`, where NAME is the path of a folder or a model of the hub.

    A model of the hub comes from the cache on this machine or else from the hub, at `revision` or the latest commit.

    Raises:
        InputError: there is no such folder or model, it is in the workspace, has no safetensors, or brings code.
        UnreachableError: the model is not on this machine and the hub does not answer.
    """
    wanted = name.removeprefix(SENTENCE_TRANSFORMERS)
    local = Path(wanted).expanduser()
    if local.is_dir():
        model = local_folder(name, local, workspace_root)
    elif local.is_absolute() or wanted.startswith(("." + os.sep, "~")) or wanted.count("/") > 1 or not wanted:
        raise InputError(f"--encoder {name}: there is no model folder at {local}", hint="check the path")
    else:
        repository = wanted if "/" in wanted else f"sentence-transformers/{wanted}"
        model = hub_folder(name, repository, revision, local_option=LOCAL_OPTION)
    for kind in _module_types(name, model.folder):
        if not kind.startswith(_OWN_MODULES):
            raise brings_code(name, f"modules.json names {kind!a}, which is not of sentence-transformers")
    return model


@dataclass(frozen=True)
class SentenceOptions:
    """How a model is asked.

    Attributes:
        truncate_dim: how many of the first numbers of a vector are kept, of a model that was trained for it; None: all.
        prompt: what precedes each input; None: the model's own default.
    """

    truncate_dim: int | None = None
    prompt: str | None = None


class SentenceEncoder(Encoder):
    """Texts, and where the model can also images and both as one input, through a sentence-transformers model.

    What is longer than the model reads is cut off.
    """

    def __init__(
        self, model: ModelFolder, options: SentenceOptions, *, device: torch.device, batch_size: int | None
    ) -> None:
        """Load the model onto `device`.

        Raises:
            InputError: the extra `text` is not installed, or the folder holds no such model.
        """
        try:
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415  an extra
        except ImportError as error:
            raise InputError(
                f"--encoder {model.name}: sentence-transformers is not installed",
                hint=f"{extra_command('text')}, or use --encoder classic",
            ) from error
        self.name = model.name
        self.batch_size = self._image_batch = batch_size or DEFAULT_BATCH
        self._source = model
        self._options = options
        self._device = device
        try:
            self._model: Any = SentenceTransformer(
                str(model.folder),
                device=str(device),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
                truncate_dim=options.truncate_dim,
            ).eval()
            if precision := half_precision(device):
                self._model.to(precision)
            self.reads_images = self.shared_space = bool(self._model.supports("image"))
            self._marks: list[str] = self._model.tokenizer.all_special_tokens if self.reads_images else []
            self.text_dim = int(self.text_vectors(["a"]).shape[1])
        except (OSError, ImportError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise InputError(
                f"--encoder {model.name}: {model.folder} cannot be loaded: {_first_line(error)}",
                hint="it must hold what sentence-transformers saves, with its weights as safetensors",
            ) from error
        self.image_dim = self.text_dim if self.reads_images else 1  # of zero rows: an encoder needs a width
        self.joint_dim = self.text_dim if self._model.supports(_JOINT) else 0

    def text_vectors(self, tokens: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts."""
        if not tokens:
            return np.zeros((0, self.text_dim), np.float32)

        def forward(positions: NDArray[np.int64]) -> torch.Tensor:
            return self._encode([self._text(tokens[position]) for position in positions])

        lengths = np.array([len(text) for text in tokens])
        vectors, self.batch_size = encode_by_length(lengths, self.batch_size, self._device, forward)
        return unit_rows(vectors)

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the image as it is, (height, width, 3): the model has a processor of its own."""
        return np.asarray(image) if self.reads_images else np.zeros(0, np.uint8)

    def image_vectors(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Encode images; zero rows where the model reads texts alone."""
        if not self.reads_images:
            return np.zeros((len(pixels), self.image_dim), np.float32)
        return self._encode_in_batches([{"image": Image.fromarray(image)} for image in pixels], self.image_dim)

    def joint_vectors(self, texts: Sequence[str], pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Encode items by text and image at once."""
        both = zip(texts, pixels, strict=True)
        inputs = [
            {"text": self._beside_image(self._plain(text)), "image": Image.fromarray(image)} for text, image in both
        ]
        return self._encode_in_batches(inputs, self.joint_dim)

    def _text(self, text: str) -> str | dict[str, str]:
        # A bare text that looks like the address or the path of an image would be opened as one.
        return {"text": self._plain(text)} if self.reads_images else text

    def _plain(self, text: str) -> str:
        """Return a text without the marks by which such a model knows where an image is; it would look for one."""
        for mark in self._marks:
            text = text.replace(mark, " ")
        return text

    def _beside_image(self, text: str) -> str:
        """Return what fits into half of the length that the model reads, so that no mark of the image is cut off."""
        most = (self._model.max_seq_length or len(text)) // 2
        if len(text) <= most:  # no token is shorter than a character
            return text
        options = {"add_special_tokens": False, "truncation": True, "return_offsets_mapping": True}
        ends = self._model.tokenizer(text, max_length=most, **options)["offset_mapping"]
        return text[: ends[-1][1]] if ends else text[:most]

    def _encode_in_batches(self, inputs: Sequence[dict[str, Any]], dim: int) -> NDArray[np.float32]:
        if not inputs:
            return np.zeros((0, dim), np.float32)
        vectors, self._image_batch = encode_in_batches(
            len(inputs), self._image_batch, self._device, lambda batch: self._encode(inputs[batch])
        )
        return unit_rows(vectors)

    def _encode(self, inputs: Sequence[Any]) -> torch.Tensor:
        try:
            encoded: torch.Tensor = self._model.encode(
                list(inputs),
                prompt=self._options.prompt,
                batch_size=len(inputs),
                convert_to_tensor=True,
                show_progress_bar=False,
            )
        except ValueError as error:  # of the model's processor
            raise InputError(f"--encoder {self.name}: {_first_line(error)}", hint="use another encoder") from error
        return encoded

    def save(self, folder: Path) -> EncoderCard:
        """Write `encoder.json`; the weights stay where they are, pinned by their sha256."""
        return write_card(
            folder,
            EncoderCard(
                name=self.name,
                kind="sentence_transformers",
                revision=self._source.revision,
                text_dim=self.text_dim,
                image_dim=self.image_dim,
                joint_dim=self.joint_dim,
                weights_sha256=self._source.sha256,
                checkpoint=None if self._source.revision else str(self._source.folder),
                truncate_dim=self._options.truncate_dim,
                prompt=self._options.prompt,
            ),
        )


def reopen_sentence_encoder(
    card: EncoderCard, workspace_root: Path, *, device: torch.device, batch_size: int | None
) -> SentenceEncoder:
    """Open the encoder of a card, with the same weights.

    Raises:
        WorkspaceError: the weights have changed.
        InputError, UnreachableError: as `find_sentence_model` and `SentenceEncoder`.
    """
    model = find_sentence_model(
        f"{SENTENCE_TRANSFORMERS}{card.checkpoint}" if card.checkpoint else card.name, workspace_root, card.revision
    )
    if model.sha256 != card.weights_sha256:
        raise WorkspaceError(
            f"{model.folder} is not the model the embeddings were made with", hint="run `mmsc encode` again"
        )
    named = ModelFolder(card.name, model.folder, model.revision)
    options = SentenceOptions(card.truncate_dim, card.prompt)
    return SentenceEncoder(named, options, device=device, batch_size=batch_size)


def _module_types(name: str, folder: Path) -> list[str]:
    """Return the classes that the model is made of, as `modules.json` names them; none where there is no such file."""
    try:
        modules = json.loads((folder / "modules.json").read_bytes())
        return [str(module["type"]) for module in modules]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"--encoder {name}: modules.json is damaged", hint="check the folder") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]
