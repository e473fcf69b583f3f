"""Find the architecture and the weights of `open_clip:ARCH/PRETRAINED`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
from open_clip.constants import HF_SAFE_WEIGHTS_NAME

from mmsc_cli.encoders.encoder import OPEN_CLIP
from mmsc_cli.encoders.hub import hub_file
from mmsc_cli.errors import InputError
from mmsc_cli.workspace.checksums import digest
from mmsc_cli.workspace.regular_file import refuse_model_inside

# Of open_clip's models below 20 GFLOPs for an image and a text together, the one with the best zero-shot score (17.5
# GFLOPs, 72.8 % on ImageNet); docs/encode.md compares it with others.
DEFAULT = f"{OPEN_CLIP}ViT-B-32-256/datacomp_s34b_b86k"
LOCAL_OPTION = f"--encoder {OPEN_CLIP}ARCH/PATH.safetensors"


@dataclass(frozen=True)
class Pin:
    """A commit of a repository on the hub, and the sha256 of its weights."""

    revision: str
    sha256: str


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
        architecture: as open_clip calls it.
        checkpoint: a safetensors file.
        revision: the commit of the hub; None for a local checkpoint.
        overrides: the arguments of `open_clip.create_model` that the tag asks for: its preprocessing and activation.
    """

    name: str
    architecture: str
    checkpoint: Path
    revision: str | None
    overrides: dict[str, Any]

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the checkpoint."""
        return digest(self.checkpoint)


def find_weights(name: str, workspace_root: Path, revision: str | None = None) -> OpenClipWeights:
    """Find the weights of `open_clip:ARCH/PRETRAINED`, where PRETRAINED is a tag or the path of a .safetensors file.

    The weights of a tag come from the cache on this machine or else from the hub, as safetensors only: at `revision`,
    else at the pinned commit, else at the latest.

    Raises:
        InputError: the architecture or tag is unknown (the hint names similar ones), its text tower would come from
            elsewhere, the checkpoint is missing, in the workspace or no safetensors file, or its sha256 is not the
            pinned one.
        UnreachableError: the weights are not on this machine and the hub does not answer.
    """
    architecture, _, pretrained = name.removeprefix(OPEN_CLIP).partition("/")
    known = open_clip.list_models()
    if architecture not in known:
        raise InputError(
            f"--encoder {name}: open_clip {open_clip.__version__} has no architecture {architecture!r}",
            hint=_near(architecture, known, "architectures"),
        )
    if tower := open_clip.get_model_config(architecture)["text_cfg"].get("hf_model_name"):
        raise InputError(
            f"--encoder {name}: {architecture} takes its text tower from {tower} on the hub, which is not pinned",
            hint=f"use an architecture of open_clip's own, such as {DEFAULT}",
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
    weights = OpenClipWeights(name, architecture, checkpoint, checkpoint.parent.name, overrides)
    if pin and weights.revision == pin.revision and weights.sha256 != pin.sha256:
        raise InputError(
            f"--encoder {name}: {checkpoint} is damaged or was replaced: its sha256 is not the published one",
            hint="delete it and run the command again",
        )
    return weights


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
