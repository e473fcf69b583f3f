"""Which architecture and weights `open_clip:ARCH/PRETRAINED` means, and where the weights lie."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import open_clip
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from open_clip.constants import HF_SAFE_WEIGHTS_NAME

from mmsc_cli.errors import InputError, UnreachableError

PREFIX = "open_clip:"
# The cheapest of open_clip's well-trained models: 14.8 GFLOPs for an image and a text together, 66.6 %
# zero-shot on ImageNet; ViT-B-16 takes 41.1 GFLOPs for 70.2 % (open_clip's own tables, docs/model_profile.csv
# and docs/openclip_results.csv).
DEFAULT = f"{PREFIX}ViT-B-32/laion2b_s34b_b79k"
_PROBE_SECONDS = 5.0
_OWN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
_OFFLINE_HINT = (
    "give a local checkpoint (--encoder open_clip:ARCH/PATH.safetensors), "
    "or use --encoder classic, which needs no download"
)


@dataclass(frozen=True)
class OpenClipWeights:
    """An architecture and its weights on this machine.

    `revision` is the hub's commit, null for a local checkpoint. `overrides` are the arguments of
    `open_clip.create_model` that the tag asks for: its preprocessing and activation.
    """

    name: str
    architecture: str
    checkpoint: Path
    revision: str | None
    overrides: dict[str, Any]


def find_weights(name: str) -> OpenClipWeights:
    """Resolve `open_clip:ARCH/PRETRAINED`; PRETRAINED is a tag or the path of a .safetensors checkpoint.

    Weights of a tag come from the hub's cache on this machine, else from the hub, as safetensors only.

    Raises:
        InputError: unknown architecture or tag (near names are given), missing checkpoint, no safetensors.
        UnreachableError: the weights are not here and the hub does not answer.
    """
    architecture, _, pretrained = name.removeprefix(PREFIX).partition("/")
    known = open_clip.list_models()
    if architecture not in known:
        raise InputError(
            f"--encoder {name}: open_clip {open_clip.__version__} has no architecture {architecture!r}",
            hint=_near(architecture, known, "architectures"),
        )
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained.endswith(".safetensors") or os.sep in pretrained or Path(pretrained).suffix in (".pt", ".bin"):
        return OpenClipWeights(name, architecture, _local_checkpoint(name, pretrained), None, {})
    if pretrained not in tags:
        raise InputError(
            f"--encoder {name}: {architecture} has no pretrained weights {pretrained!r}",
            hint=_near(pretrained, tags, "tags") + ", or the path of a .safetensors file",
        )
    config = open_clip.get_pretrained_cfg(architecture, pretrained)
    checkpoint = _from_hub(name, config.get("hf_hub", ""))
    overrides = {
        "force_quick_gelu": config.get("quick_gelu", False),
        "force_preprocess_cfg": {
            field: config[field] for field in ("mean", "std", "interpolation", "resize_mode") if field in config
        },
    }
    return OpenClipWeights(name, architecture, checkpoint, checkpoint.resolve().parent.name, overrides)


def _local_checkpoint(name: str, pretrained: str) -> Path:
    path = Path(pretrained).expanduser()
    if path.suffix != ".safetensors":
        raise InputError(
            f"--encoder {name}: {path.name} is no .safetensors file (a .pt or .bin is a pickle: never read)",
            hint="convert it with safetensors.torch.save_file(state_dict, 'weights.safetensors')",
        )
    if not path.is_file():
        raise InputError(f"--encoder {name}: there is no checkpoint at {path}", hint="check the path")
    return path.resolve()


def _from_hub(name: str, address: str) -> Path:
    """Fetch the safetensors file of an `owner/repository/[file]`.

    `open_clip.download_pretrained` would do the same but fall back to a pickle, and wait for most of a minute
    where there is no network.
    """
    repository, _, file = address.rpartition("/")
    if file:
        file = str(Path(file).with_suffix(".safetensors"))
    file = file or HF_SAFE_WEIGHTS_NAME
    pickle_only = InputError(
        f"--encoder {name}: its weights are not published as safetensors, and nothing else is read",
        hint="choose another tag, or convert them and give the path of the .safetensors file",
    )
    if not repository:
        raise pickle_only
    cached = huggingface_hub.try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    _check_reachable(name)
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file))
    except LocalEntryNotFoundError as error:  # the hub's word for a connection that failed
        raise _unreachable(name, str(error)) from error
    except EntryNotFoundError:
        raise pickle_only from None
    except Exception as error:  # its HTTP library is another from one version to the next
        if isinstance(error, OSError) and error.errno in _OWN_DISK:
            raise
        raise _unreachable(name, str(error)) from error


def _check_reachable(name: str) -> None:
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise _unreachable(name, "HF_HUB_OFFLINE is set")
    try:
        httpx.head(huggingface_hub.constants.ENDPOINT, timeout=_PROBE_SECONDS)
    except httpx.HTTPError as error:
        raise _unreachable(name, str(error)) from error


def _unreachable(name: str, reason: str) -> UnreachableError:
    first_line = reason.strip().partition("\n")[0]
    return UnreachableError(
        f"--encoder {name}: its weights are not on this machine and {huggingface_hub.constants.ENDPOINT} "
        f"cannot be reached ({first_line})",
        hint=_OFFLINE_HINT,
    )


def _near(wrong: str, known: list[str], what: str) -> str:
    folded = {name.casefold(): name for name in known}
    near = [folded[match] for match in get_close_matches(wrong.casefold(), folded, n=5, cutoff=0.4)]
    shown = near or known[:5]
    return f"{'near' if near else 'some'} {what}: {', '.join(shown)}" if shown else f"it has no {what}"
