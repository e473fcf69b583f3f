"""A sentence-transformers model as an encoder of texts alone."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mmsc_cli.arrays.rows import unit_rows
from mmsc_cli.encoders.batching import encode_by_length, half_precision
from mmsc_cli.encoders.encoder import DEFAULT_BATCH, SENTENCE_TRANSFORMERS, Encoder, EncoderCard, write_card
from mmsc_cli.encoders.hub import hub_snapshot
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.runtime.installation import extra_command
from mmsc_cli.workspace.checksums import digest
from mmsc_cli.workspace.regular_file import refuse_model_inside

LOCAL_OPTION = f"--encoder {SENTENCE_TRANSFORMERS}PATH"
# Pickles, code, and the files of other runtimes are not downloaded.
_NOT_FETCHED = (
    "*.py",
    "*.bin",
    "*.pt",
    "*.pth",
    "*.pkl",
    "*.h5",
    "*.ot",
    "*.msgpack",
    "onnx/*",
    "openvino/*",
    "*.onnx",
)
_CODE = (".py", ".pyc", ".pyd", ".so")
_OWN_MODULES = "sentence_transformers."
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


@dataclass(frozen=True)
class SentenceModel:
    """A model's folder on this machine; `revision` is the commit of the hub, None for a local folder."""

    name: str
    folder: Path
    revision: str | None

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the folder."""
        return digest(self.folder)


def find_sentence_model(name: str, workspace_root: Path, revision: str | None = None) -> SentenceModel:
    """Find the folder of `sentence-transformers:NAME`, where NAME is the path of a folder or a model of the hub.

    A model of the hub comes from the cache on this machine or else from the hub, at `revision` or the latest commit.

    Raises:
        InputError: there is no such folder or model, it is in the workspace, has no safetensors, or brings code.
        UnreachableError: the model is not on this machine and the hub does not answer.
    """
    wanted = name.removeprefix(SENTENCE_TRANSFORMERS)
    local = Path(wanted).expanduser()
    if local.is_dir():
        refuse_model_inside(workspace_root, local, f"--encoder {name}")
        return SentenceModel(name, _checked(name, local.resolve()), None)
    if local.is_absolute() or wanted.startswith(("." + os.sep, "~")) or wanted.count("/") > 1 or not wanted:
        raise InputError(f"--encoder {name}: there is no model folder at {local}", hint="check the path")
    repository = wanted if "/" in wanted else f"sentence-transformers/{wanted}"
    folder = hub_snapshot(name, repository, revision, without=_NOT_FETCHED, local_option=LOCAL_OPTION)
    return SentenceModel(name, _checked(name, folder), folder.name)


class SentenceEncoder(Encoder):
    """Texts through a sentence-transformers model; texts beyond its length are cut off."""

    image_dim = 1  # of zero rows: an encoder needs a width
    reads_images = False

    def __init__(self, model: SentenceModel, *, device: torch.device, batch_size: int | None) -> None:
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
        self.batch_size = batch_size or DEFAULT_BATCH
        self._source = model
        self._device = device
        try:
            self._model: Any = SentenceTransformer(
                str(model.folder),
                device=str(device),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            ).eval()
            if precision := half_precision(device):
                self._model.to(precision)
            self.text_dim = int(self.text_vectors(["a"]).shape[1])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            first_line = (str(error).strip() or type(error).__name__).partition("\n")[0]
            raise InputError(
                f"--encoder {model.name}: {model.folder} cannot be loaded: {first_line}",
                hint="it must hold what sentence-transformers saves, with its weights as safetensors",
            ) from error

    def text_vectors(self, tokens: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts."""
        if not tokens:
            return np.zeros((0, self.text_dim), np.float32)

        def forward(positions: NDArray[np.int64]) -> torch.Tensor:
            texts = [tokens[position] for position in positions]
            encoded: torch.Tensor = self._model.encode(
                texts, batch_size=len(texts), convert_to_tensor=True, show_progress_bar=False
            )
            return encoded

        lengths = np.array([len(text) for text in tokens])
        vectors, self.batch_size = encode_by_length(lengths, self.batch_size, self._device, forward)
        return unit_rows(vectors)

    def pixels(self, image: Image.Image) -> NDArray[np.float32]:  # noqa: ARG002  an encoder of texts
        """Return nothing."""
        return np.zeros(0, np.float32)

    def image_vectors(self, pixels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Return zero rows."""
        return np.zeros((len(pixels), self.image_dim), np.float32)

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
                weights_sha256=self._source.sha256,
                checkpoint=None if self._source.revision else str(self._source.folder),
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
    return SentenceEncoder(SentenceModel(card.name, model.folder, model.revision), device=device, batch_size=batch_size)


def _checked(name: str, folder: Path) -> Path:
    """Return the folder; refuse one that has pickles and no safetensors beside them, or that brings code."""
    for path in folder.rglob("*"):
        if path.suffix in _PICKLES and not list(path.parent.glob("*.safetensors")):
            raise InputError(
                f"--encoder {name}: {path.relative_to(folder)} is a pickle, and there is no safetensors file beside it",
                hint="save the model as safetensors: SentenceTransformer(...).save(folder)",
            )
        if path.suffix in _CODE:
            raise _brings_code(name, f"{path.relative_to(folder)} is code")
    for kind in _module_types(name, folder):
        if not kind.startswith(_OWN_MODULES):
            raise _brings_code(name, f"modules.json names {kind!a}, which is not of sentence-transformers")
    return folder


def _module_types(name: str, folder: Path) -> list[str]:
    """Return the classes that the model is made of, as `modules.json` names them; none where there is no such file."""
    try:
        modules = json.loads((folder / "modules.json").read_bytes())
        return [str(module["type"]) for module in modules]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"--encoder {name}: modules.json is damaged", hint="check the folder") from error


def _brings_code(name: str, what: str) -> InputError:
    return InputError(f"--encoder {name}: {what}, and no code of a model is run", hint="use a model without it")
