"""Find the architecture and the weights of `open_clip:ARCH/PRETRAINED`, `hf-hub:OWNER/NAME` or `local-dir:PATH`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
from open_clip.constants import HF_CONFIG_NAME, HF_SAFE_WEIGHTS_NAME

from mmsc_cli.encoders.encoder import OPEN_CLIP
from mmsc_cli.encoders.hub import hub_file
from mmsc_cli.encoders.model_folder import TEXT_FILES, ModelFolder, brings_code, hub_folder, local_folder
from mmsc_cli.errors import InputError
from mmsc_cli.workspace.checksums import digest
from mmsc_cli.workspace.digests import digest_lines
from mmsc_cli.workspace.regular_file import refuse_model_inside

# docs/encode.md compares it with others.
DEFAULT = f"{OPEN_CLIP}ViT-B-32-256/datacomp_s34b_b86k"
LOCAL_OPTION = f"--encoder {OPEN_CLIP}ARCH/PATH.safetensors"
# How open_clip itself names a model that is a folder.
HUB, LOCAL = "hf-hub:", "local-dir:"


@dataclass(frozen=True)
class Pin:
    """A commit of a repository on the hub, and the sha256 of its weights."""

    revision: str
    sha256: str


_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
_CONFIG = "config.json"
PINS = {
    DEFAULT: Pin(
        revision="4afec35ffe57a943d569ff7ee888061830164da8",
        sha256="92c26d60d3200ed5ed040dff31a8d19f8140648da8007216c25744c478deef27",
    )
}


@dataclass(frozen=True)
class OpenClipWeights:
    """An architecture and its weights on this machine.

    Attributes:
        name: the name of the encoder.
        architecture: as open_clip calls it; `local-dir:PATH` for a folder with a configuration of its own.
        checkpoint: a safetensors file.
        revision: the commit of the hub; None for a local checkpoint.
        overrides: the arguments of `open_clip.create_model` that the tag asks for: its preprocessing and activation.
        text: the folder of the tokenizer, and of the configuration of a text tower that is not open_clip's own; None:
            the tokenizer is open_clip's.
        repository: OWNER/NAME of the weights on the hub; empty for a local checkpoint.
    """

    name: str
    architecture: str
    checkpoint: Path
    revision: str | None
    overrides: dict[str, Any]
    text: ModelFolder | None = None
    repository: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """The architecture's configuration."""
        config: dict[str, Any] = open_clip.get_model_config(self.architecture)
        return config

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the checkpoint, and of the tokenizer where it is a file too."""
        weights = digest(self.checkpoint)
        if self.text is None:
            return weights
        return digest_lines([(HF_SAFE_WEIGHTS_NAME, weights), (_CONFIG, self.text.text_sha256)])


def find_weights(
    name: str, workspace_root: Path, revision: str | None = None, text_revision: str | None = None
) -> OpenClipWeights:
    """Find the weights of an open_clip model.

    `open_clip:ARCH/PRETRAINED`, where PRETRAINED is a tag or the path of a .safetensors file;
    `open_clip:hf-hub:OWNER/NAME`, a repository of the hub with a configuration of its own;
    `open_clip:local-dir:PATH`, the same as a folder.

    What is on the hub comes from the cache on this machine or else from the hub, as safetensors only: the weights at
    `revision`, else at the pinned commit, else at the latest; a tokenizer that is elsewhere at `text_revision`.

    Raises:
        InputError: there is no such model (the hint names similar ones), it is in the workspace, no safetensors file,
            brings code, or its sha256 is not the pinned one.
        UnreachableError: something is not on this machine and the hub does not answer.
    """
    wanted = name.removeprefix(OPEN_CLIP)
    if wanted.startswith((HUB, LOCAL)):
        weights = _folder_weights(name, wanted, workspace_root, revision)
    else:
        weights = _known_weights(name, workspace_root, revision)
    return replace(weights, text=_text_files(weights, text_revision))


def _folder_weights(name: str, wanted: str, workspace_root: Path, revision: str | None) -> OpenClipWeights:
    if wanted.startswith(HUB):
        only = (*TEXT_FILES, HF_SAFE_WEIGHTS_NAME)
        model = hub_folder(name, wanted.removeprefix(HUB), revision, only=only, local_option=LOCAL_OPTION)
    else:
        model = local_folder(name, Path(wanted.removeprefix(LOCAL)).expanduser(), workspace_root)
    architecture, checkpoint = f"{LOCAL}{model.folder}", model.folder / HF_SAFE_WEIGHTS_NAME
    if not checkpoint.is_file():
        raise InputError(
            f"--encoder {name}: {model.folder} has no {HF_SAFE_WEIGHTS_NAME}, the only weights that are read",
            hint="convert them with safetensors.torch.save_file(state_dict, 'open_clip_model.safetensors')",
        )
    try:
        config = json.loads((model.folder / HF_CONFIG_NAME).read_bytes())["model_cfg"]
        tower = str(config["vision_cfg"].get("timm_model_name", ""))
        if not isinstance(config["text_cfg"], dict):
            raise TypeError
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"--encoder {name}: {model.folder / HF_CONFIG_NAME} is missing or damaged", hint="check the folder"
        ) from error
    if ":" in tower:
        raise brings_code(name, f"its image tower {tower!a} would come from elsewhere")
    repository = wanted.removeprefix(HUB) if wanted.startswith(HUB) else ""
    return OpenClipWeights(name, architecture, checkpoint, model.revision, {}, repository=repository)


def _known_weights(name: str, workspace_root: Path, revision: str | None) -> OpenClipWeights:
    architecture, _, pretrained = name.removeprefix(OPEN_CLIP).partition("/")
    known = open_clip.list_models()
    if architecture not in known:
        raise InputError(
            f"--encoder {name}: open_clip {open_clip.__version__} has no architecture {architecture!r}",
            hint=_near(architecture, known, "architectures"),
        )
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained.endswith(".safetensors") or os.sep in pretrained or Path(pretrained).suffix in (".pt", ".bin"):
        checkpoint = _local_checkpoint(name, pretrained)
        refuse_model_inside(workspace_root, checkpoint, f"--encoder {name}")
        return OpenClipWeights(name, architecture, checkpoint, None, {})
    if pretrained not in tags:
        raise InputError(
            f"--encoder {name}: {architecture} has no pretrained weights {pretrained!r}",
            hint=_near(pretrained, tags, "tags") + ", or the path of a .safetensors file",
        )
    config = open_clip.get_pretrained_cfg(architecture, pretrained)
    pin = PINS.get(name)
    checkpoint = _from_hub(name, config.get("hf_hub", ""), revision or (pin.revision if pin else None))
    overrides = {
        "force_quick_gelu": config.get("quick_gelu", False),
        "force_preprocess_cfg": {
            field: config[field] for field in ("mean", "std", "interpolation", "resize_mode") if field in config
        },
    }
    repository = config.get("hf_hub", "").rpartition("/")[0]
    weights = OpenClipWeights(name, architecture, checkpoint, checkpoint.parent.name, overrides, repository=repository)
    if pin and weights.revision == pin.revision and weights.sha256 != pin.sha256:
        raise InputError(
            f"--encoder {name}: {checkpoint} is damaged or was replaced: its sha256 is not the published one",
            hint="delete it and run the command again",
        )
    return weights


def _text_files(weights: OpenClipWeights, revision: str | None) -> ModelFolder | None:
    """Return the folder of the tokenizer, and of the configuration of a text tower, that open_clip takes from the hub.

    What lies beside the weights in a folder that the user named is preferred.
    """
    name, text = weights.name, weights.config["text_cfg"]
    tower, tokenizer = text.get("hf_model_name"), text.get("hf_tokenizer_name")
    if not (tower or tokenizer):
        return None
    beside = weights.checkpoint.parent
    is_whole = any((beside / file).is_file() for file in _TOKENIZERS) and (not tower or (beside / _CONFIG).is_file())
    if is_whole and (weights.revision is None or weights.architecture.startswith(LOCAL)):
        found = ModelFolder(name, beside, None)
    elif tower and tokenizer and tower != tokenizer:
        raise InputError(
            f"--encoder {name}: its text tower is of {tower} and its tokenizer of {tokenizer}; only one place is read",
            hint=f"use another model, such as {DEFAULT}",
        )
    else:
        repository = str(tower or tokenizer)
        if revision is None and repository == weights.repository:
            revision = weights.revision
        found = hub_folder(name, repository, revision, only=TEXT_FILES, local_option=LOCAL_OPTION)
    if tower and "auto_map" in _json(found.folder / _CONFIG):
        raise brings_code(name, f"{tower} names code in its {_CONFIG}")
    return found


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _local_checkpoint(name: str, pretrained: str) -> Path:
    path = Path(pretrained).expanduser()
    if path.suffix != ".safetensors":
        raise InputError(
            f"--encoder {name}: {path.name} is not a .safetensors file (.pt and .bin are pickles and never read)",
            hint="convert it with safetensors.torch.save_file(state_dict, 'weights.safetensors')",
        )
    if not path.is_file():
        raise InputError(f"--encoder {name}: there is no checkpoint at {path}", hint="check the path")
    return path.resolve()


def _from_hub(name: str, address: str, revision: str | None) -> Path:
    """Fetch the safetensors file of `owner/repository/[file]`; open_clip itself would fall back to a pickle."""
    repository, _, file = address.rpartition("/")
    file = str(Path(file).with_suffix(".safetensors")) if file else HF_SAFE_WEIGHTS_NAME
    checkpoint = hub_file(name, repository, file, revision, local_option=LOCAL_OPTION) if repository else None
    if checkpoint is None:
        raise InputError(
            f"--encoder {name}: its weights are not published as safetensors, the only format that is read",
            hint="choose another tag, or convert them and give the path of the .safetensors file",
        )
    return checkpoint


def _near(wrong: str, known: list[str], what: str) -> str:
    folded = {name.casefold(): name for name in known}
    near = [folded[match] for match in get_close_matches(wrong.casefold(), folded, n=5, cutoff=0.4)]
    shown = near or known[:5]
    return f"{'near' if near else 'some'} {what}: {', '.join(shown)}" if shown else f"it has no {what}"
